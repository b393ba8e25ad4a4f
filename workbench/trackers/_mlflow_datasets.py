"""Question sets and calibration texts as MLflow's dataset inputs: who they are, never what they ask.

Two runs compare only if they answered the same questions. MLflow shows a run's datasets by name and digest, so ours
are given: the sha256 over questions and databases that the report has too. MLflow holds 36 characters of a digest;
the whole one stands in the dataset's profile and its tag ``sha256``::

    client.log_inputs(run_id, dataset_inputs(run.datasets))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.trackers.base import TrackedDataset

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

MAX_DIGEST_LENGTH = 36  # mlflow.utils.validation of MLflow 3
CONTEXT = "mlflow.data.context"  # the tag by which MLflow's pages tell evaluation from training data


def dataset_inputs(datasets: Sequence[TrackedDataset]) -> list[DatasetInput]:
    """Datasets as inputs of a run, each with its context."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            dataset=Dataset(
                name=one.name,
                digest=one.digest[:MAX_DIGEST_LENGTH],
                source_type="bundled" if one.source == "bundled" else "local",
                source=json.dumps({"uri": one.source}),
                schema=_schema(one.columns),
                profile=json.dumps({"num_rows": one.rows, **one.facts, "sha256": one.digest}),
            ),
            tags=[InputTag(CONTEXT, one.context), InputTag("sha256", one.digest)],
        )
        for one in datasets
    ]


def _schema(columns: Sequence[str]) -> str | None:
    """MLflow's schema of columns of text."""
    if not columns:
        return None
    return json.dumps({"mlflow_colspec": [{"type": "string", "name": name, "required": True} for name in columns]})
