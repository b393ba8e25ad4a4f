"""The registered model, its versions and aliases, in a real MLflow store."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracked_artifacts import build_of, child, mock_artifact

from workbench.trackers._mlflow_registry import alias_name, model_name
from workbench.trackers._mlflow_session import everything
from workbench.trackers.base import TrackedBuild, TrackingReceipt
from workbench.trackers.mlflow import TRACKER, ui_pages


def record(build: TrackedBuild, store: Path, log_weights: bool = False) -> TrackingReceipt:
    return TRACKER.log_build(build, None, store, log_weights)


def client_of(store: Path):  # type: ignore[no-untyped-def]  # mlflow is imported by the tracker first, quietly
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{store}/mlflow.db")


def versions(store: Path) -> dict[str, dict[str, str]]:
    found = client_of(store).search_model_versions("name = 'tiny'")
    return {str(one.version): dict(one.tags) for one in found}


def test_each_artifact_is_a_version_and_the_best_has_the_alias(blank_store: Path) -> None:
    q4, q8 = mock_artifact(blank_store / "q4", "q4", "k4"), mock_artifact(blank_store / "q8", "q8", "k8")
    receipt = record(build_of(child(q4), child(q8, gate="refuted"), recommended="q4"), blank_store)
    assert receipt.versions == {"q4": "1", "q8": "2"}
    tags = versions(blank_store)
    assert tags["1"]["build_key"] == "k4"
    assert tags["1"]["weights"] == str(q4.path.resolve())
    assert tags["1"]["profiles"] == "cpu"
    assert tags["2"]["gate"] == "refuted"
    client = client_of(blank_store)
    model = client.get_registered_model("tiny")
    assert model.aliases == {"cpu-best": 1}
    assert model.tags["cpu-best"] == "q4, version 1: it is the best"
    version = client.get_model_version("tiny", "1")
    assert version.run_id == receipt.child_run_ids[0]
    assert version.description == "the `q4`"
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    assert {one.key: one.value for one in logged.metrics}["heldout/sql_accuracy_ratio"] == 0.9
    (output,) = client.get_run(receipt.child_run_ids[0]).outputs.model_outputs
    assert output.model_id == logged.model_id


def test_a_search_goes_on_to_the_last_page(blank_store: Path) -> None:
    record(build_of(*(child(mock_artifact(blank_store / name, name, name)) for name in ("a", "b", "c"))), blank_store)
    client = client_of(blank_store)
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = everything(client.search_logged_models, experiments, max_results=1)
    assert sorted(one.tags["build_key"] for one in found) == ["a", "b", "c"]


def test_the_same_artifact_is_registered_once_and_its_tags_follow(blank_store: Path) -> None:
    q4 = mock_artifact(blank_store / "q4")
    record(build_of(child(q4, gate="not judged"), recommended="q4"), blank_store)
    record(build_of(child(q4, gate="proved"), recommended="q4"), blank_store)
    again = record(build_of(child(q4, "rtx4090"), recommended="q4", profile="rtx4090"), blank_store)
    assert again.versions == {"q4": "1"}
    ((number, tags),) = versions(blank_store).items()
    assert (number, tags["gate"], tags["profiles"]) == ("1", "proved", "cpu, rtx4090")
    assert client_of(blank_store).get_registered_model("tiny").aliases == {"cpu-best": 1, "rtx4090-best": 1}


def test_another_build_key_is_another_version_and_the_alias_moves(blank_store: Path) -> None:
    record(build_of(child(mock_artifact(blank_store / "q4", key="old")), recommended="q4"), blank_store)
    record(build_of(child(mock_artifact(blank_store / "q4", key="new")), recommended="q4"), blank_store)
    assert {number: tags["build_key"] for number, tags in versions(blank_store).items()} == {"1": "old", "2": "new"}
    assert client_of(blank_store).get_registered_model("tiny").aliases == {"cpu-best": 2}


def test_nothing_recommended_takes_the_alias_away_and_says_why(blank_store: Path) -> None:
    q4 = mock_artifact(blank_store / "q4")
    record(build_of(child(q4), recommended="q4"), blank_store)
    record(build_of(child(q4, gate="refuted"), recommended=None), blank_store)
    model = client_of(blank_store).get_registered_model("tiny")
    assert model.aliases == {}
    assert model.tags["cpu-best"] == "nothing: none is accurate enough"


def test_what_cannot_serve_is_not_registered(blank_store: Path) -> None:
    q4 = mock_artifact(blank_store / "q4")
    failed = child(q4, model=None, tags={"error": "out of memory"})
    assert record(build_of(failed), blank_store).versions == {}
    assert client_of(blank_store).search_registered_models() == []


def test_a_version_left_out_by_a_broken_connection_is_made_of_the_model_that_is_there(
    blank_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.errors import WorkbenchError

    q4 = mock_artifact(blank_store / "q4")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.create_model_version", refuse)
        with pytest.raises(WorkbenchError):
            record(build_of(child(q4), recommended="q4"), blank_store)
    record(build_of(child(q4), recommended="q4"), blank_store)
    client = client_of(blank_store)
    experiment = client.get_experiment_by_name("sqlcoder-workbench/tiny").experiment_id
    assert len(client.search_logged_models([experiment])) == 1
    assert list(versions(blank_store)) == ["1"]


def test_uploaded_weights_are_found_again_and_are_a_version_of_their_own(blank_store: Path) -> None:
    q4 = mock_artifact(blank_store / "q4")
    record(build_of(child(q4)), blank_store)
    for _ in range(2):
        assert record(build_of(child(q4)), blank_store, log_weights=True).versions == {"q4": "2"}
    assert [tags["weights"] for tags in versions(blank_store).values()].count("uploaded") == 1


def test_nothing_logged_is_a_pickle_or_code(blank_store: Path) -> None:
    q4 = mock_artifact(blank_store / "q4")
    record(build_of(child(q4)), blank_store, log_weights=True)
    files = {file.name for file in (blank_store / "mlartifacts").rglob("*") if file.is_file()}
    assert {"MLmodel", "artifact.json", "mock.json"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".py", ".pt"))]
    assert "MLFLOW_TRACKING_URI" not in os.environ


@given(st.text(max_size=80))
def test_any_name_is_one_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import (
        _validate_logged_model_name,
        _validate_model_alias_name,
        _validate_model_alias_name_reserved,
        _validate_model_name,
    )

    _validate_model_name(model_name(name))
    _validate_logged_model_name(model_name(name))
    _validate_model_alias_name(alias_name(name))
    _validate_model_alias_name_reserved(alias_name(name))


def test_ui_names_the_pages_of_the_last_build(blank_store: Path) -> None:
    q4 = mock_artifact(blank_store / "q4")
    older = record(build_of(child(q4), recommended="q4"), blank_store)
    newer = record(build_of(child(q4), recommended="q4"), blank_store)
    pages = ui_pages(blank_store, None, 5001)
    assert set(pages) == {"sqlcoder-workbench/tiny", "sqlcoder-workbench/tiny, side by side"}
    assert pages["sqlcoder-workbench/tiny"] == f"http://127.0.0.1:5001{newer.runs_page}"
    assert newer.child_run_ids[0] in pages["sqlcoder-workbench/tiny, side by side"]
    assert older.child_run_ids[0] not in pages["sqlcoder-workbench/tiny, side by side"]
