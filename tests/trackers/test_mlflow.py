"""MLflow, the real one: what is logged is read back through its own client."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.artifact import Manifest, seal, sha256_file
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.trackers._mlflow_run import MAX_PARAM_LENGTH, key_for
from workbench.trackers._mlflow_session import public_uri, resolve_uri
from workbench.trackers.base import TrackedBuild, TrackedRun, TrackingReceipt
from workbench.trackers.mlflow import TRACKER, ui_command, ui_pages

EXPERIMENT = "sqlcoder-workbench/tiny"
MANIFEST = Manifest("q4", "tiny", "gpt_bigcode", "nano", "gguf", {}, {}, (), 7, 14, 4.0, {}, "key")


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose schema is made once: that takes seconds, everything else is quick."""
    return tmp_path_factory.mktemp("a store with spaces")


def build(folder: Path) -> TrackedBuild:
    report, weights, predictions = folder / "report.json", folder / "q4", folder / "predictions"
    report.write_text("{}")
    (weights / "deep").mkdir(parents=True)
    (weights / "model.gguf").write_bytes(b"weights")
    (weights / "deep" / "more.bin").write_bytes(b"more")
    seal(weights, MANIFEST)
    predictions.mkdir()
    (predictions / "dev.jsonl").write_text("")
    child = TrackedRun(
        name="q4",
        params={"model": "tiny", "option.long": "x" * (MAX_PARAM_LENGTH + 1), "empty": ""},
        metrics={f"m{number}_s": number for number in range(250)} | {"unknown_s": float("nan"), "acc_ratio/a b": 0.5},
        tags={"format": "gguf"},
        artifacts=[weights / "manifest.json", predictions, folder / "never written"],
        weight_reference=weights,
        weight_files=[weights / "model.gguf", weights / "deep" / "more.bin"],
    )
    failed = TrackedRun(name="q3", tags={"error": "out of memory"})
    parent = TrackedRun(name="tiny on cpu", metrics={"build_s": 3.5}, artifacts=[report])
    return TrackedBuild(EXPERIMENT, parent, [child, failed])


def client_of(store: Path):  # type: ignore[no-untyped-def]  # mlflow is imported by the tracker first, quietly
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{store}/mlflow.db")


@pytest.fixture(scope="module")
def receipt(store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrackingReceipt:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return TRACKER.log_build(build(tmp_path_factory.mktemp("build")), None, store, log_weights=False)


def test_one_parent_and_one_nested_run_per_artifact(store: Path, receipt: TrackingReceipt) -> None:
    client = client_of(store)
    runs = {run.info.run_id: run for run in client.search_runs([receipt.experiment_id])}
    assert set(runs) == {receipt.parent_run_id, *receipt.child_run_ids}
    assert [runs[child].data.tags["mlflow.parentRunId"] for child in receipt.child_run_ids] == [
        receipt.parent_run_id
    ] * 2
    assert [runs[child].info.run_name for child in receipt.child_run_ids] == ["q4", "q3"]
    assert [runs[child].info.status for child in receipt.child_run_ids] == ["FINISHED", "FAILED"]
    assert runs[receipt.parent_run_id].data.metrics == {"build_s": 3.5}
    assert client.get_experiment(receipt.experiment_id).name == EXPERIMENT


def test_metrics_params_and_tags(store: Path, receipt: TrackingReceipt) -> None:
    data = client_of(store).get_run(receipt.child_run_ids[0]).data
    assert len(data.metrics) == 251  # the unknown one is left out
    assert data.metrics["m249_s"] == 249
    assert data.metrics["acc_ratio/a b"] == 0.5
    assert data.params["model"] == "tiny"
    assert len(data.params["option.long"]) == MAX_PARAM_LENGTH
    assert data.params["option.long"].endswith("...")
    assert data.tags["format"] == "gguf"


def test_artifacts_lie_in_the_store(store: Path, receipt: TrackingReceipt) -> None:
    client = client_of(store)
    child = receipt.child_run_ids[0]
    assert {file.path for file in client.list_artifacts(child)} == {"manifest.json", "predictions", "params"}
    (full,) = client.list_artifacts(child, "params")
    text = Path(client.download_artifacts(child, full.path)).read_text()
    assert text == "x" * (MAX_PARAM_LENGTH + 1)
    assert [file.name for file in (store / "mlartifacts" / receipt.parent_run_id / "artifacts").iterdir()] == [
        "report.json"
    ]


def test_weights_are_recorded_by_path_and_digest(store: Path, receipt: TrackingReceipt) -> None:
    tags = client_of(store).get_run(receipt.child_run_ids[0]).data.tags
    weights = Path(tags["weights.path"])
    assert tags["weights.manifest_sha256"] == sha256_file(weights / "manifest.json")
    assert json.loads(tags["weights.sha256"]) == {
        "deep/more.bin": sha256_file(weights / "deep" / "more.bin"),
        "model.gguf": sha256_file(weights / "model.gguf"),
    }


def test_weights_are_uploaded_when_asked(store: Path, receipt: TrackingReceipt, tmp_path: Path) -> None:
    again = TRACKER.log_build(build(tmp_path), None, store, log_weights=True)
    assert again.experiment_id == receipt.experiment_id
    client = client_of(store)
    assert {file.path for file in client.list_artifacts(again.child_run_ids[0], "weights")} == {
        "weights/deep",
        "weights/model.gguf",
    }


def test_a_deleted_experiment_comes_back(store: Path, receipt: TrackingReceipt) -> None:
    client_of(store).delete_experiment(receipt.experiment_id)
    again = TRACKER.log_build(TrackedBuild(EXPERIMENT, TrackedRun("p")), None, store, log_weights=False)
    assert again.experiment_id == receipt.experiment_id


def test_the_terminal_stays_quiet(store: Path, receipt: TrackingReceipt, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("mlflow").level
    TRACKER.log_build(TrackedBuild(EXPERIMENT, TrackedRun("p")), None, store, log_weights=False)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("mlflow").level == before
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_an_explicit_uri_wins_over_the_environment(
    store: Path, receipt: TrackingReceipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{store}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    explicit = TRACKER.log_build(TrackedBuild(EXPERIMENT, TrackedRun("p")), uri, tmp_path, log_weights=False)
    assert explicit.experiment_id == receipt.experiment_id
    assert list(tmp_path.iterdir()) == []
    assert resolve_uri(None, tmp_path) == "http://127.0.0.1:9"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://zoe:s3cret@127.0.0.1:9", "check --tracking-uri"),
        ("postgresql://zoe:s3cret@127.0.0.1:9/db", "check --tracking-uri"),
        ("nonsense://zoe:s3cret@host", "check --tracking-uri"),
        ("mssql+pyodbc://zoe:s3cret@host/db", "pip install pyodbc"),
        ("sqlite:////proc/none/mlflow.db", "check --tracking-uri"),
    ],
)
def test_a_store_out_of_reach_is_one_sentence_without_the_password(tmp_path: Path, uri: str, reason: str) -> None:
    with pytest.raises(WorkbenchError, match=reason) as caught:
        TRACKER.log_build(TrackedBuild(EXPERIMENT, TrackedRun("p")), uri, tmp_path, log_weights=False)
    message = str(caught.value)
    assert "s3cret" not in message
    assert "zoe" not in message
    assert "\n" not in message
    assert isinstance(caught.value, PrerequisiteError) == ("pip install" in reason)


def test_a_run_that_cannot_be_recorded_does_not_stay_running(
    store: Path, receipt: TrackingReceipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlflow.MlflowClient.log_batch", refuse)
    with pytest.raises(WorkbenchError, match="is full"):
        TRACKER.log_build(
            TrackedBuild("full", TrackedRun("p", tags={"profile": "cpu"})), None, store, log_weights=False
        )
    client = client_of(store)
    (run,) = client.search_runs([client.get_experiment_by_name("full").experiment_id])
    assert run.info.status == "FAILED"


def test_ui_serves_the_local_store(store: Path, receipt: TrackingReceipt) -> None:
    command = ui_command(store, None, 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{store}/mlflow.db"
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "5001"]


def test_ui_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no recorded build yet; run: workbench build"):
        ui_command(tmp_path, None, 5000)


def test_ui_of_a_broken_store_says_what_failed(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkbenchError, match="did not show its builds"):
        ui_pages(tmp_path, None, 5000)


def test_ui_of_a_server_is_the_servers_own(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"https://host is a server") as caught:
        ui_command(tmp_path, "https://zoe:s3cret@host", 5000)
    assert "s3cret" not in str(caught.value)


def test_tokens_of_the_environment_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret")
    assert public_uri("https://zoe:x@host refuses s3cret") == "https://host refuses ***"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_key_is_one_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(key_for(name))


def test_good_keys_stay_as_they_are() -> None:
    for name in ("predicted/decode_tokens_per_s", "heldout/sql_accuracy_ratio/category/date", "a-b. c"):
        assert key_for(name) == name
