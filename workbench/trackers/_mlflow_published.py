"""Runs and registered versions of an artifact that was published, found by their tags and told where it lies.

A recording gives the run of an artifact the tags ``recipe`` and ``build_key``, and so its versions in the registry; the
same artifact may have been recorded for several profiles, by several builds. The newest run is the one that a commit
on the Hub names, and that is told of the commit::

    newest_run(client, artifact)                        # TrackedOrigin("sqlcoder-workbench/nano", "1f0c...")
    tag(client, artifact, {"hub.repository": "me/nano"})    # ["run 1f0c...", "version 3 of sqlcoder-nano"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.trackers._mlflow_registry import model_name
from workbench.trackers._mlflow_run import MAX_TAG_LENGTH
from workbench.trackers._mlflow_session import everything, public_uri
from workbench.trackers.base import VARIANT, TrackedArtifact, TrackedOrigin

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PLAIN = re.compile(r"[\w.:@+-]+")  # nothing that ends a string of MLflow's filters


def newest_run(client: MlflowClient, artifact: TrackedArtifact) -> TrackedOrigin | None:
    """Where an artifact's newest run is; ``None`` if no run bears its tags."""
    run = _newest(client, artifact)
    if run is None:
        return None
    return TrackedOrigin(client.get_experiment(run.info.experiment_id).name, run.info.run_id)


def tag(client: MlflowClient, artifact: TrackedArtifact, tags: Mapping[str, str], known: str = "") -> list[str]:
    """Put tags on the newest run and on every version of an artifact; what was tagged, in words."""
    run, told = _newest(client, artifact), []
    public = {key: public_uri(value)[:MAX_TAG_LENGTH] for key, value in tags.items()}
    if run is not None and not _is_known(run.data.tags, public, known):
        for key, value in public.items():
            client.set_tag(run.info.run_id, key, value, synchronous=True)
        told.append(f"run {run.info.run_id}")
    name = model_name(artifact.model)
    for version in everything(client.search_model_versions, f"name = '{name}'", max_results=1000):
        if version.tags.get("build_key") == artifact.build_key and not _is_known(version.tags, public, known):
            for key, value in public.items():
                client.set_model_version_tag(name, version.version, key, value)
            told.append(f"version {version.version} of {name}")
    return told


def _is_known(tags: Mapping[str, str], wanted: Mapping[str, str], known: str) -> bool:
    return bool(known) and tags.get(known) == wanted[known]


def _newest(client: MlflowClient, artifact: TrackedArtifact) -> Run | None:
    """Of all experiments: the same artifact may stand in one that a user named."""
    if not (_PLAIN.fullmatch(artifact.build_key) and _PLAIN.fullmatch(artifact.recipe)):
        return None
    text = f"tags.kind = '{VARIANT}' AND tags.build_key = '{artifact.build_key}' AND tags.recipe = '{artifact.recipe}'"
    experiments = [one.experiment_id for one in everything(client.search_experiments, max_results=1000)]
    if not experiments:
        return None
    found = client.search_runs(experiments, text, max_results=1, order_by=["attributes.start_time DESC"])
    return found[0] if found else None
