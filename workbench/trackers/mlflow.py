"""MLflow: one parent run per build, one nested run per artifact, comparable in MLflow's own table.

Where the runs go: an explicit URI, else ``MLFLOW_TRACKING_URI``, else a SQLite store in the output folder
(``mlflow.db``, files in ``mlartifacts/``). Everything is sent in batches through ``MlflowClient``; the
fluent API would make one call per value and keep a global active run. Weights are recorded by path and
digests, since uploading 30 GB twice helps nobody, unless they are asked for.

The report is on disk before a tracker is called, so a tracker that fails loses nothing. Credentials in a
URI are cut from every message and record. See the runs with::

    workbench ui
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.artifact import MANIFEST_NAME, sha256_file
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.storage import storage_error
from workbench.trackers.base import TrackedBuild, TrackedRun, Tracker, TrackingReceipt

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
# mlflow.utils.validation of MLflow 3; written down since a remote server checks its own.
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_KEY_LENGTH = 250
MAX_PER_BATCH = 100  # params and tags; metrics may be 1000
_DATABASES = ("postgresql", "mysql", "mssql")
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own defaults try for about four minutes; a user at a terminal waits for the answer.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class MlflowTracker(Tracker):
    """Records builds in MLflow."""

    name = "mlflow"
    title = "MLflow"
    requires = (("mlflow", "mlflow"),)

    def log_build(
        self, build: TrackedBuild, tracking_uri: str | None, store: Path, log_weights: bool
    ) -> TrackingReceipt:
        """Record one build; see the base class."""
        uri = resolve_uri(tracking_uri, store)
        with _quiet(), _user_errors(uri, store):
            client = _client(uri)
            experiment = _experiment(client, build.experiment, store if uri == _local_uri(store) else None)
            with _run(client, experiment, build.parent, None) as parent:
                _log(client, parent, build.parent, log_weights)
                children = []
                for child in build.children:
                    with _run(client, experiment, child, parent) as run:
                        _log(client, run, child, log_weights)
                    children.append(run)
        return TrackingReceipt(public_uri(uri), experiment, parent, children)


TRACKER = MlflowTracker()


def resolve_uri(tracking_uri: str | None, store: Path) -> str:
    """The explicit URI, else ``MLFLOW_TRACKING_URI``, else the SQLite store in ``store``."""
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _local_uri(store)


def public_uri(text: str) -> str:
    """A URI, or a sentence with URIs in it, without user names, passwords and query strings."""
    without_login = re.sub(r"://\S*@", "://", text)
    return re.sub(r"(://[^\s?]*)\?[^\s'\"]*", r"\1", without_login)


def ui_command(store: Path, tracking_uri: str | None, port: int) -> list[str]:
    """The command that serves MLflow's pages on this machine only.

    Raises:
        WorkbenchError: there is nothing to show yet, or the URI is a server that has its own pages.
    """
    uri = resolve_uri(tracking_uri, store)
    if uri.startswith(("http://", "https://")):
        raise WorkbenchError(f"{public_uri(uri)} is a server with pages of its own; open it in a browser")
    if uri == _local_uri(store) and not (store / DATABASE_NAME).is_file():
        raise WorkbenchError(f"{store} holds no recorded build yet; run: workbench build --out {store}")
    _apply_settings()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    return [*command, "--host", "127.0.0.1", "--port", str(port)]


def _local_uri(store: Path) -> str:
    """The SQLite database in ``store``."""
    return f"sqlite:///{store.resolve() / DATABASE_NAME}"


def _apply_settings() -> None:
    """MLflow reads the environment only; what the user has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No telemetry, no migration log, no deprecation warnings on the user's terminal."""
    _apply_settings()
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401 - its import sets the levels of its loggers

        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _user_errors(uri: str, store: Path) -> Iterator[None]:
    """MLflow's, the database's and the network's errors as one sentence without credentials."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    where, kept = public_uri(uri), f"the report itself is in {store}"
    try:
        yield
    except ModuleNotFoundError as error:
        raise PrerequisiteError(
            f"the tracking URI {where} needs the database driver {error.name}; run: pip install {error.name}; {kept}"
        ) from error
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, RequestException) and uri == _local_uri(store):
            raise storage_error(error, store) from error
        reason = public_uri(str(error)).strip().splitlines() or [type(error).__name__]
        raise WorkbenchError(
            f"MLflow at {where} did not take the build ({reason[0][:300]}); check --tracking-uri and its login, "
            f"or leave it out to record locally; {kept}"
        ) from error


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    elif uri.startswith(_DATABASES):
        _knock(uri)
    return MlflowClient(tracking_uri=uri)


def _knock(uri: str) -> None:
    """Connect once: MLflow itself would try a database that is not there for more than a minute, silently."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    engine.connect().close()
    engine.dispose()


def _experiment(client: MlflowClient, name: str, store: Path | None) -> str:
    """Id of the experiment, made or restored when needed; a local one keeps its files in ``store``."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (store.resolve() / ARTIFACTS_NAME).as_uri() if store else None
        # Without the tag MLflow's pages guess what kind of runs these are, and open on a view for agents' traces.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, artifact_location=location, tags=kind))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@contextlib.contextmanager
def _run(client: MlflowClient, experiment: str, run: TrackedRun, parent: str | None) -> Iterator[str]:
    """A run that ends as FINISHED, or as FAILED when the artifact or its recording did."""
    from mlflow.exceptions import MlflowException

    tags = {"mlflow.source.name": "workbench build", "mlflow.source.type": "LOCAL"}
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


def _log(client: MlflowClient, run_id: str, run: TrackedRun, log_weights: bool) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    params, long_params = _short_params(run.params)
    tags = {**run.tags, **(_weight_tags(run.weight_reference) if run.weight_reference else {})}
    values = [Metric(key_for(key), value, now, 0) for key, value in run.metrics.items() if math.isfinite(value)]
    texts = [Param(key_for(key), value) for key, value in params.items()]
    labels = [RunTag(key_for(key), public_uri(value)[:MAX_TAG_LENGTH]) for key, value in tags.items()]
    for start in range(0, max(len(values), len(texts), len(labels)), MAX_PER_BATCH):
        part = slice(start, start + MAX_PER_BATCH)
        client.log_batch(run_id, metrics=values[part], params=texts[part], tags=labels[part])
    for key, text in long_params.items():
        client.log_text(run_id, text, f"params/{key_for(key)}.txt")
    for path in run.artifacts:
        _upload(client, run_id, path)
    if log_weights:
        _upload_weights(client, run_id, run)


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


def _upload_weights(client: MlflowClient, run_id: str, run: TrackedRun) -> None:
    for file in run.weight_files:
        inside = run.weight_reference is not None and file.is_relative_to(run.weight_reference)
        folder = file.parent.relative_to(run.weight_reference) if inside and run.weight_reference else Path()
        client.log_artifact(run_id, str(file), artifact_path=(Path("weights") / folder).as_posix())
