"""One run in MLflow: begun, filled in batches, and ended, whatever happens in between.

A run that breaks off ends as FAILED; where even that cannot be said, because the server is gone, it stays RUNNING with
the tag ``workbench.recording``, by which the next recording of the same build folder finds and removes it.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.artifact import MANIFEST_NAME, sha256_file
from workbench.trackers._mlflow_datasets import dataset_inputs
from workbench.trackers._mlflow_session import everything, public_uri
from workbench.trackers._mlflow_view import LATEST
from workbench.trackers.base import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

# mlflow.utils.validation of MLflow 3; written down since a remote server checks its own.
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_KEY_LENGTH = 250
MAX_PER_BATCH = 100  # params and tags; metrics may be 1000
NOTE_TAG = "mlflow.note.content"  # Markdown on the page of a run or an experiment
RECORDING = "workbench.recording"


@contextlib.contextmanager
def started(
    client: MlflowClient, experiment: str, run: TrackedRun, parent: str | None, recording: str
) -> Iterator[str]:
    """Id of a run that ends as FINISHED, or as FAILED when the artifact or its recording did."""
    from mlflow.exceptions import MlflowException

    tags = {"mlflow.source.name": "workbench build", "mlflow.source.type": "LOCAL"}
    if recording:
        tags |= {RECORDING: recording, LATEST: "true"}
    if parent:
        tags["mlflow.parentRunId"] = parent
    run_id = client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
    recorded = False
    try:
        yield run_id
        recorded = True
    finally:
        if not recorded:
            with contextlib.suppress(MlflowException):  # the first error is the one to tell
                client.set_terminated(run_id, "FAILED")
    client.set_terminated(run_id, "FAILED" if "error" in run.tags else "FINISHED")


def clear_unfinished(client: MlflowClient, experiment: str, recording: str) -> None:
    """Remove the runs and models of this folder that an earlier recording could not end; nothing else bears the tag."""
    if not recording:
        return
    ours = f"tags.`{RECORDING}` = '{recording}'"
    running = f"{ours} AND attributes.status = 'RUNNING'"
    for run in everything(client.search_runs, [experiment], filter_string=running, max_results=1000):
        client.set_terminated(run.info.run_id, "KILLED")
        client.delete_run(run.info.run_id)
    for model in everything(client.search_logged_models, [experiment], filter_string=ours, max_results=50):
        if model.status == "PENDING":  # MLflow's own filter by status finds nothing
            client.delete_logged_model(model.model_id)


def supersede(client: MlflowClient, experiment: str, recording: str, newest: Collection[str]) -> None:
    """Take the tag ``latest`` from the runs that this recording replaces; the saved view shows those that bear it."""
    if not recording:
        return
    text = f"tags.`{RECORDING}` = '{recording}' AND tags.{LATEST} = 'true'"
    for run in everything(client.search_runs, [experiment], filter_string=text, max_results=1000):
        if run.info.run_id not in newest:
            client.set_tag(run.info.run_id, LATEST, "false", synchronous=True)


def log(client: MlflowClient, run_id: str, run: TrackedRun, model_id: str | None) -> None:
    """Everything a run holds; its figures are its model's too, where it has one."""
    from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

    now = int(time.time() * 1000)
    params, long_params = _short_params(run.params)
    tags = {**run.tags, **(_weight_tags(run.weight_reference) if run.weight_reference else {})}
    values = [
        Metric(key_for(key), value, now, 0, model_id=model_id)
        for key, value in run.metrics.items()
        if math.isfinite(value)
    ]
    texts = [Param(key_for(key), value) for key, value in params.items()]
    labels = [RunTag(key_for(key), public_uri(value)[:MAX_TAG_LENGTH]) for key, value in tags.items()]
    labels += [RunTag(NOTE_TAG, public_uri(run.note)[:MAX_TAG_LENGTH])] if run.note else []
    for start in range(0, max(len(values), len(texts), len(labels)), MAX_PER_BATCH):
        part = slice(start, start + MAX_PER_BATCH)
        client.log_batch(run_id, metrics=values[part], params=texts[part], tags=labels[part])
    if run.datasets:
        client.log_inputs(run_id, dataset_inputs(run.datasets))
    if model_id:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    for key, text in long_params.items():
        client.log_text(run_id, text, f"params/{key_for(key)}.txt")
    for path in run.artifacts:
        _upload(client, run_id, path)


def key_for(name: str) -> str:
    """A name MLflow takes: letters, digits, ``_-. /`` and no empty or dotted path part."""
    parts = [re.sub(r"[^\w\-. ]", "_", part, flags=re.ASCII).strip() for part in name.split("/")]
    return "/".join(part for part in parts if part.strip("."))[:MAX_KEY_LENGTH] or "_"


def _short_params(params: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Params fit for MLflow, and in full those that were cut."""
    public = {key: public_uri(value) for key, value in params.items()}
    long = {key: value for key, value in public.items() if len(value) > MAX_PARAM_LENGTH}
    return {key: value[: MAX_PARAM_LENGTH - 3] + "..." if key in long else value for key, value in public.items()}, long


def _weight_tags(folder: Path) -> dict[str, str]:
    """Where the weights lie and their digests, from the artifact's manifest."""
    tags = {"weights.path": str(folder.resolve())}
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        files: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        tags["weights.manifest_sha256"] = sha256_file(manifest)
        tags["weights.sha256"] = json.dumps({entry["path"]: entry["sha256"] for entry in files})
    return tags


def _upload(client: MlflowClient, run_id: str, path: Path) -> None:
    if path.is_dir():
        client.log_artifacts(run_id, str(path), artifact_path=path.name)
    elif path.is_file():
        client.log_artifact(run_id, str(path))


def upload_weights(client: MlflowClient, run_id: str, run: TrackedRun) -> None:
    """The weights into the run's own files, below ``weights/``."""
    for file in run.weight_files:
        inside = run.weight_reference is not None and file.is_relative_to(run.weight_reference)
        folder = file.parent.relative_to(run.weight_reference) if inside and run.weight_reference else Path()
        client.log_artifact(run_id, str(file), artifact_path=(Path("weights") / folder).as_posix())
