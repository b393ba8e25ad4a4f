"""A source that is on the Hub: a few of its tensors fetched by the real client, and files that are not those named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import LocalHub
from made_artifacts import made
from starcoder import make_starcoder

from workbench.artifact import open_artifact, seal, write_manifest
from workbench.checkpoint import open_checkpoint
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check
from workbench.progress import SILENT
from workbench.rederive import RederiveRequest, rederive
from workbench.source_files import source_files

NAME, WEIGHTS = "org/small", "model.safetensors"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_starcoder(tmp_path_factory.mktemp("source") / "small", layers=3)


@pytest.fixture
def hub(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with LocalHub() as server:
        server.use(monkeypatch, tmp_path)
        server.add_repository(NAME, source)
        yield server


def package(recipe: str, hub: LocalHub, source: Path, out: Path) -> Path:
    """Made of what is on the Hub, whose files it lists."""
    commit = hub.repository(NAME).history()[0].oid
    checkpoint = dataclasses.replace(open_checkpoint(str(source)), id=NAME, revision=commit)
    artifact = made(recipe, checkpoint, out)
    files = source_files(checkpoint, SILENT)
    manifest = artifact.manifest
    write_manifest(out, dataclasses.replace(manifest, source={**manifest.source, "files": files}))
    return out


def check(folder: Path, count: int = 1000, seed: int = 1) -> Check:
    return rederive(folder, RederiveRequest(count, seed=seed))


def fetched(hub: LocalHub) -> int:
    """Bytes of weights, the one large file, that were asked for; every request must name a range."""
    ranges = [one.headers["range"] for one in hub.asked("GET", "") if one.origin == "cdn"]
    ends = [map(int, one.removeprefix("bytes=").split("-")) for one in ranges]
    return sum(last - first + 1 for first, last in ends)


@pytest.mark.parametrize("recipe", ["fp16", "int8", "gguf-q4_k_m", "mlx-4bit", "onnx-int4"])
def test_every_part_can_be_made_of_what_is_fetched_for_it(hub, source, tmp_path, recipe):
    folder = package(recipe, hub, source, tmp_path / "made")
    found = check(folder)
    assert found.status == PASSED, found
    assert "read in parts" in found.detail


def test_only_what_is_drawn_is_fetched(hub, source, tmp_path):
    folder = package("fp16", hub, source, tmp_path / "made")
    assert check(folder, 2).status == PASSED
    assert 0 < fetched(hub) < (source / WEIGHTS).stat().st_size / 2


def test_an_alteration_is_found(hub, source, tmp_path):
    folder = package("gguf-q8_0", hub, source, tmp_path / "made")
    (file,) = folder.glob("*.gguf")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    seal(folder, open_artifact(folder).manifest)
    assert check(folder).status == FAILED


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_other_files_than_the_package_lists_are_told(hub, source, tmp_path, name):
    folder = package("fp16", hub, source, tmp_path / "made")
    manifest = open_artifact(folder).manifest
    files = [one | {"sha256": "0" * 64} if one["path"] == name else one for one in manifest.source["files"]]
    write_manifest(folder, dataclasses.replace(manifest, source={**manifest.source, "files": files}))
    found = check(folder)
    assert (found.status, f"another {name}" in found.detail) == (NOT_CHECKED, True)
    assert fetched(hub) < 300_000  # the head at most


@pytest.mark.parametrize("files", [None, [], "model.safetensors", [5]])
def test_without_a_list_of_files_the_source_is_fetched_whole(hub, source, tmp_path, files):
    folder = package("fp16", hub, source, tmp_path / "made")
    manifest = open_artifact(folder).manifest
    write_manifest(folder, dataclasses.replace(manifest, source={**manifest.source, "files": files}))
    found = check(folder)
    assert found.status == PASSED, found
    assert "read in parts" not in found.detail


def test_a_connection_that_breaks_is_tried_again_and_one_that_is_gone_is_said(hub, source, tmp_path):
    folder = package("fp16", hub, source, tmp_path / "made")
    hub.fail("GET", WEIGHTS, 503, skip=2)
    assert check(folder).status == PASSED
    hub.fail("GET", WEIGHTS, 403, times=None)
    found = check(folder)
    assert (found.status, NAME in found.detail) == (NOT_CHECKED, True)


def test_an_index_that_leads_out_of_the_folder_is_refused(hub, source, tmp_path):
    folder = package("fp16", hub, source, tmp_path / "made")
    bad = b'{"weight_map": {"transformer.wte.weight": "../../escaped.safetensors"}}'
    hub.repository(NAME).put({"model.safetensors.index.json": bad, WEIGHTS: None})
    manifest = open_artifact(folder).manifest
    commit = hub.repository(NAME).history()[0].oid
    write_manifest(folder, dataclasses.replace(manifest, source={**manifest.source, "revision": commit}))
    assert check(folder).status == NOT_CHECKED
    assert not list(tmp_path.rglob("escaped*"))


def test_what_lies_whole_in_the_cache_is_read_there(hub, source, tmp_path):
    folder = package("fp16", hub, source, tmp_path / "made")
    open_checkpoint(NAME)
    before = len(hub.requests)
    assert check(folder).status == PASSED
    assert not [one for one in hub.requests[before:] if one.method == "GET" and one.origin == "cdn"]
