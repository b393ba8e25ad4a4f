"""A run and a registered version told of the commit that was published of them, and the commit of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import LocalHub
from packages_made import changed, made_package
from pushing import TOKEN, Heard, writable_hub
from tracked_artifacts import build_of, child, mock_artifact

from workbench.artifact import open_artifact
from workbench.push import PushRequest, push
from workbench.trackers.base import TrackedArtifact, TrackedModel, TrackedOrigin, TrackedRun
from workbench.trackers.mlflow import TRACKER


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with writable_hub(monkeypatch, tmp_path) as server:
        yield server


KEY = "0123abcd"
Q4 = TrackedArtifact("tiny", "q4", KEY)
TAGS = {"hub.repository": "me/tiny", "hub.commit": "c" * 40, "hub.url": "https://hub/me/tiny/commit/c"}


def run_of(store: Path, key: str = KEY, name: str = "tiny", recipe: str = "q4") -> TrackedRun:
    """The run of an artifact as a build records it."""
    run = child(mock_artifact(store / key / recipe, recipe, key))
    assert run.model is not None
    model = TrackedModel(name, recipe, key, "cpu", {}, "", run.model.serving)
    return dataclasses.replace(run, tags={**run.tags, "recipe": recipe, "build_key": key}, model=model)


def client_of(store: Path):  # type: ignore[no-untyped-def]  # mlflow is imported by the tracker first, quietly
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{store}/mlflow.db")


def test_the_newest_run_of_an_artifact_is_found_and_tagged_with_its_version(blank_store: Path) -> None:
    TRACKER.log_build(build_of(run_of(blank_store)), None, blank_store, False)
    receipt = TRACKER.log_build(build_of(run_of(blank_store), run_of(blank_store, "other")), None, blank_store, False)
    origin = TRACKER.find_run(Q4, None, blank_store)
    assert origin == TrackedOrigin("sqlcoder-workbench/tiny", receipt.child_run_ids[0])
    told = TRACKER.tag_published(Q4, TAGS, None, blank_store)
    assert told == [f"run {origin.run_id}", "version 1 of tiny"]
    client = client_of(blank_store)
    assert TAGS.items() <= client.get_run(origin.run_id).data.tags.items()
    assert TAGS.items() <= client.get_model_version("tiny", "1").tags.items()
    assert not TAGS.keys() & client.get_model_version("tiny", "2").tags.keys()
    assert TRACKER.tag_published(Q4, {**TAGS, "hub.commit": "d"}, None, blank_store, "hub.repository") == []
    assert client.get_run(origin.run_id).data.tags["hub.commit"] == "c" * 40


@pytest.mark.parametrize("key", ["unknown", "' OR tags.recipe = 'q4", ""])
def test_an_artifact_without_a_run(blank_store: Path, key: str) -> None:
    TRACKER.log_build(build_of(run_of(blank_store)), None, blank_store, False)
    assert TRACKER.find_run(TrackedArtifact("tiny", "q4", key), None, blank_store) is None
    assert TRACKER.tag_published(TrackedArtifact("tiny", "q4", key), TAGS, None, blank_store) == []


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert TRACKER.find_run(Q4, None, tmp_path / "store") is None
    assert TRACKER.tag_published(Q4, TAGS, None, tmp_path / "store") == []
    assert not (tmp_path / "store").exists()


def test_run_and_commit_point_at_each_other(hub: LocalHub, blank_store: Path, tmp_path: Path) -> None:
    folder = made_package(tmp_path / "q4")
    manifest = open_artifact(folder).manifest
    receipt = TRACKER.log_build(
        build_of(run_of(blank_store, manifest.build_key, manifest.model)), None, blank_store, False
    )
    heard = Heard()
    (done,) = push(PushRequest((folder,), "me/nano", out=blank_store), heard)
    (run,) = receipt.child_run_ids
    description = hub.repository("me/nano").history()[0].description
    assert f"MLflow experiment sqlcoder-workbench/tiny, run {run}" in description
    assert str(blank_store) not in description
    tags = client_of(blank_store).get_run(run).data.tags
    assert (tags["hub.repository"], tags["hub.commit"], tags["hub.url"]) == ("me/nano", done.commit, done.url)
    assert f"MLflow was told of the commit: run {run}, version 1 of sqlcoder-nano" in heard.text
    assert TOKEN not in str(tags)


def test_a_tracker_that_is_down_stops_no_push(hub: LocalHub, tmp_path: Path) -> None:
    folder, heard = changed(made_package(tmp_path / "q4")), Heard()
    uri = "http://user:hush-hush@127.0.0.1:1"
    (done,) = push(PushRequest((folder,), "me/nano", out=tmp_path / "s", tracking_uri=uri), heard)
    assert done.is_new
    assert "the commit names no run: MLflow at http://127.0.0.1:1" in heard.text
    assert "the upload is done, but the tracker could not be told of it" in heard.text
    assert "hush-hush" not in heard.text
    assert "hush-hush" not in hub.repository("me/nano").history()[0].description
