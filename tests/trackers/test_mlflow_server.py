"""A build recorded over HTTP: a real MLflow server, its runs in a real Postgres, its files behind its proxy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import requests
from mlflow_servers import end, running
from tracked_artifacts import build_of, child, mock_artifact

from workbench.errors import WorkbenchError
from workbench.evals.embedded import EmbeddedPostgres
from workbench.trackers.mlflow import TRACKER

TOKEN = "t0k3n-of-nobody"


@dataclass
class Remote:
    """A running server."""

    address: str
    process: Popen[bytes]

    def ask(self, path: str, **values: Any) -> dict[str, Any]:
        """A GET of the REST API."""
        answer = requests.get(f"{self.address}/api/2.0/mlflow/{path}", params=values, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def find(self, path: str, **values: Any) -> dict[str, Any]:
        """A POST of the REST API."""
        answer = requests.post(f"{self.address}/api/2.0/mlflow/{path}", json=values, timeout=60)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """URI of a Postgres database for MLflow, and a folder for its files."""
    postgres = EmbeddedPostgres.start()
    try:
        uri = postgres.conninfo.replace("postgresql://", "postgresql+psycopg://")
        yield uri, tmp_path_factory.mktemp("remote")
    finally:
        postgres.stop()


@contextmanager
def serving(home: tuple[str, Path]) -> Iterator[Remote]:
    uri, folder = home
    arguments = ["server", "--backend-store-uri", uri, "--serve-artifacts", "--workers", "1"]
    arguments += ["--artifacts-destination", str(folder / "files")]
    with running(arguments, folder / "log.txt") as (address, process):
        yield Remote(address, process)


@pytest.fixture(scope="module")
def remote(home: tuple[str, Path]) -> Iterator[Remote]:
    with serving(home) as server:
        yield server


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)


def test_runs_datasets_files_versions_and_aliases_arrive(
    remote: Remote, home: tuple[str, Path], tmp_path: Path
) -> None:
    artifact = mock_artifact(tmp_path / "q4", answer="SELECT 7")
    told = tmp_path / "report.md"
    told.write_text("# a report")
    build = build_of(child(artifact, artifacts=[told]), recommended="q4")
    receipt = TRACKER.log_build(build, remote.address, tmp_path, log_weights=True)

    run = remote.ask("runs/get", run_id=receipt.child_run_ids[0])["run"]
    assert {one["key"]: one["value"] for one in run["data"]["metrics"]}["heldout/sql_accuracy_ratio"] == 0.9
    assert run["info"]["status"] == "FINISHED"
    tags = {one["key"]: one["value"] for one in run["data"]["tags"]}
    assert tags["mlflow.parentRunId"] == receipt.parent_run_id
    (dataset,) = run["inputs"]["dataset_inputs"]
    assert dataset["dataset"]["name"] == "heldout"
    version = remote.ask("registered-models/alias", name="tiny", alias="cpu-best")["model_version"]
    assert version["version"] == receipt.versions["q4"] == "1"
    assert version["run_id"] == receipt.child_run_ids[0]
    files = remote.ask("artifacts/list", run_id=receipt.child_run_ids[0])["files"]
    assert [one["path"] for one in files] == ["report.md"]
    stored = {file.name for file in (home[1] / "files").rglob("*") if file.is_file()}
    assert {"report.md", "MLmodel", "artifact.json", "mock.json"} <= stored
    assert receipt.runs_page.startswith(f"{remote.address}/#/experiments/")
    everything = json.dumps([run, version, remote.find("experiments/search", max_results=10)])
    assert TOKEN not in everything


def test_a_registered_version_answers_on_a_machine_without_its_folder(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import pyfunc

    artifact = mock_artifact(tmp_path / "q5", "q5", "other", answer="SELECT 8")
    TRACKER.log_build(build_of(child(artifact), recommended="q5"), remote.address, tmp_path, log_weights=True)
    artifact.path.rename(tmp_path / "gone")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", remote.address)
    model = pyfunc.load_model("models:/tiny@cpu-best")
    assert list(model.predict(model.input_example)["sql"]) == ["SELECT 8"]


def test_a_server_killed_on_the_way_is_one_sentence_and_the_next_build_mends(
    home: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    artifact = mock_artifact(tmp_path / "q6", "q6", "third")
    build = build_of(child(artifact), recommended="q6", profile="killed")
    upload = MlflowClient.log_model_artifacts
    with serving(home) as first:

        def kill(client: MlflowClient, *arguments: Any) -> None:
            end(first.process)
            upload(client, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "log_model_artifacts", kill)
            with pytest.raises(WorkbenchError, match="did not take the build") as caught:
                TRACKER.log_build(build, first.address, tmp_path, log_weights=False)
        message = str(caught.value)
        assert "\n" not in message and TOKEN not in message
        assert f"the report itself is in {tmp_path}" in message
    with serving(home) as second:
        receipt = TRACKER.log_build(build, second.address, tmp_path, log_weights=False)
        experiments = [receipt.experiment_id]
        for view in ("ACTIVE_ONLY", "DELETED_ONLY"):
            runs = second.find("runs/search", experiment_ids=experiments, run_view_type=view).get("runs", [])
            assert "RUNNING" not in {run["info"]["status"] for run in runs}
        client = MlflowClient(tracking_uri=second.address)
        assert {one.status for one in client.search_logged_models(experiments)} == {"READY"}
        tags = {one.version: one.tags["build_key"] for one in client.search_model_versions("name = 'tiny'")}
        assert list(tags.values()).count("third") == 1
        assert str(client.get_registered_model("tiny").aliases["killed-best"]) == receipt.versions["q6"]
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
