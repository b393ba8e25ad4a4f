"""MLflow: one parent run per build, one nested run per artifact, comparable in MLflow's own table.

A run carries its figures under names that are the same for every model and profile, the question sets as datasets, a
note for its page, the report and the answers as files. An artifact that runs is registered as a version of its model
(``_mlflow_registry``); the experiment keeps a view with the columns that decide (``_mlflow_view``).

Everything is sent in batches through ``MlflowClient``; the fluent API would make one call per value and keep a global
active run. Weights are recorded by path and digests, since uploading 30 GB twice helps nobody, unless they are asked
for. The report is on disk before a tracker is called, so a tracker that fails loses nothing: the next build of the same
folder clears away what was left unfinished and records anew. See the runs with::

    workbench ui
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.trackers._mlflow_published import newest_run, tag
from workbench.trackers._mlflow_registry import Registry
from workbench.trackers._mlflow_run import NOTE_TAG, clear_unfinished, log, started, supersede, upload_weights
from workbench.trackers._mlflow_session import (
    DATABASE_NAME,
    apply_settings,
    connect,
    files_of,
    is_server,
    is_there,
    local_uri,
    public_uri,
    quiet,
    resolve_uri,
    speaking_to,
    user_errors,
)
from workbench.trackers._mlflow_view import VIEW_TAG, compare_page, latest_variants, model_page, runs_page, view_state
from workbench.trackers.base import TrackedArtifact, TrackedBuild, TrackedOrigin, TrackedRun, Tracker, TrackingReceipt

if TYPE_CHECKING:
    from mlflow import MlflowClient


MOST_COMPARED = 20  # runs side by side; more make an address too long to click


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
        with quiet(), user_errors(uri, store), speaking_to(uri):
            client = connect(uri)
            experiment = _experiment(client, build, files_of(uri, store))
            clear_unfinished(client, experiment, build.recording)
            registry = Registry(client, experiment, build.recording, log_weights)
            with started(client, experiment, build.parent, None, build.recording) as parent:
                log(client, parent, build.parent, None)
                children = [_record_child(registry, child, parent) for child in build.children]
                if build.choice:
                    registry.choose(build.choice)
            supersede(client, experiment, build.recording, {parent, *children})
        return _receipt(uri, registry, parent, children)

    def find_run(self, artifact: TrackedArtifact, tracking_uri: str | None, store: Path) -> TrackedOrigin | None:
        """The newest run of an artifact; see the base class."""
        uri = resolve_uri(tracking_uri, store)
        if not is_there(uri):
            return None
        with quiet(), user_errors(uri, store, "tell the artifact's run"):
            return newest_run(connect(uri), artifact)

    def tag_published(
        self, artifact: TrackedArtifact, tags: Mapping[str, str], tracking_uri: str | None, store: Path, known: str = ""
    ) -> list[str]:
        """Tags on an artifact's newest run and its versions; see the base class."""
        uri = resolve_uri(tracking_uri, store)
        if not is_there(uri):
            return []
        with quiet(), user_errors(uri, store, "take the tags"), speaking_to(uri):
            return tag(connect(uri), artifact, tags, known)


TRACKER = MlflowTracker()


def _record_child(registry: Registry, child: TrackedRun, parent: str) -> str:
    """One artifact's run, and its version; the weights of one that cannot serve go to its run, if they were to go."""
    client = registry.client
    with started(client, registry.experiment, child, parent, registry.recording) as run:
        model_id = registry.register(run, child) if child.model else None
        log(client, run, child, model_id)
        if registry.log_weights and model_id is None:
            upload_weights(client, run, child)
    return run


def _receipt(uri: str, registry: Registry, parent: str, children: list[str]) -> TrackingReceipt:
    address = public_uri(uri).rstrip("/") if is_server(uri) else ""
    experiment = registry.experiment
    return TrackingReceipt(
        public_uri(uri),
        experiment,
        parent,
        children,
        runs_page=address + runs_page(experiment),
        compare_page=address + compare_page(experiment, children) if children else "",
        model_page=address + model_page(registry.name) if registry.name else "",
        versions=registry.done,
    )


def _experiment(client: MlflowClient, build: TrackedBuild, location: str | None) -> str:
    """Id of the experiment, made or restored when needed, with the saved view and a note that leads to it."""
    found = client.get_experiment_by_name(build.experiment)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    # Without the first tag MLflow's pages guess what kind of runs these are, and open on a view for agents' traces.
    tags = {"mlflow.experimentKind": "custom_model_development", NOTE_TAG: build.note}
    if build.question_set:
        before = found.tags.get(VIEW_TAG, "") if found else ""
        tags[VIEW_TAG] = view_state(build.question_set, build.predicted, before)
    if found is None:
        return str(client.create_experiment(build.experiment, artifact_location=location, tags=tags))
    for key, value in tags.items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def ui_command(store: Path, tracking_uri: str | None, port: int) -> list[str]:
    """The command that serves MLflow's pages on this machine only.

    Raises:
        WorkbenchError: there is nothing to show yet, or the URI is a server that has its own pages.
    """
    uri = resolve_uri(tracking_uri, store)
    if is_server(uri):
        raise WorkbenchError(f"{public_uri(uri)} is a server with pages of its own; open it in a browser")
    if uri == local_uri(store) and not (store / DATABASE_NAME).is_file():
        raise WorkbenchError(f"{store} holds no recorded build yet; run: workbench build --out {store}")
    apply_settings()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    return [*command, "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]


def ui_pages(store: Path, tracking_uri: str | None, port: int) -> dict[str, str]:
    """Addresses by what they show: of each experiment the runs, and those of the last builds side by side.

    Raises:
        WorkbenchError: the store cannot be read.
    """
    uri, base = resolve_uri(tracking_uri, store), f"http://127.0.0.1:{port}"
    pages = {}
    with quiet(), user_errors(uri, store, "show its builds"):
        client = connect(uri)
        for one in client.search_experiments():
            if VIEW_TAG in one.tags:
                found = client.search_runs([one.experiment_id], latest_variants(), max_results=MOST_COMPARED)
                pages[one.name] = base + runs_page(one.experiment_id)
                pages[f"{one.name}, side by side"] = base + compare_page(
                    one.experiment_id, [run.info.run_id for run in found]
                )
    return pages
