"""Datasets as MLflow keeps them, read back from a real store."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tracked_artifacts import build_of, child, mock_artifact

from workbench.trackers._mlflow_datasets import dataset_inputs
from workbench.trackers.base import TrackedDataset
from workbench.trackers.mlflow import TRACKER


def test_question_set_and_calibration_are_inputs_with_our_digests(blank_store: Path) -> None:
    from mlflow import MlflowClient

    digest = "0123456789abcdef" * 4
    asked = TrackedDataset("heldout", digest, "evaluation", 336, "bundled", ("question", "query"))
    texts = TrackedDataset("calibration", "c" * 64, "calibration", 128, "bundled", ("text",), {"tokens": 34712})
    run = child(mock_artifact(blank_store / "q4"), datasets=[asked, texts])
    receipt = TRACKER.log_build(build_of(run), None, blank_store, log_weights=False)
    client = MlflowClient(tracking_uri=f"sqlite:///{blank_store}/mlflow.db")
    inputs = {one.dataset.name: one for one in client.get_run(receipt.child_run_ids[0]).inputs.dataset_inputs}
    first = inputs["heldout"]
    tags = {tag.key: tag.value for tag in first.tags}
    assert digest.startswith(first.dataset.digest)
    assert (tags["mlflow.data.context"], tags["sha256"]) == ("evaluation", digest)
    assert json.loads(first.dataset.profile) == {"num_rows": 336, "sha256": digest}
    assert [column["name"] for column in json.loads(first.dataset.schema)["mlflow_colspec"]] == ["question", "query"]
    assert json.loads(inputs["calibration"].dataset.profile)["tokens"] == 34712
    found = client.search_runs([receipt.experiment_id], "dataset.name = 'calibration'")
    assert [one.info.run_id for one in found] == receipt.child_run_ids


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(0, 10**6))
def test_mlflow_takes_every_digest(digest: str, rows: int) -> None:
    from mlflow.utils.validation import _validate_dataset_inputs

    _validate_dataset_inputs(dataset_inputs([TrackedDataset("a", digest, "evaluation", rows, "/x/y.csv", ("q",))]))
