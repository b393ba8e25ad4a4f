"""Artifacts: what bears the final name is whole, whatever happens on the way."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.artifact import (
    MANIFEST_NAME,
    Artifact,
    Manifest,
    known_files,
    open_artifact,
    seal,
    sha256_json,
    write_manifest,
)
from workbench.errors import ArtifactError
from workbench.package_files import PROVENANCE, SIGNATURE, UNLISTED
from workbench.storage import staged

MANIFEST = Manifest(
    name="q4",
    model="sqlcoder-nano",
    architecture="gpt_bigcode",
    prompt="nano",
    format="gguf",
    recipe={"name": "q4"},
    source={"id": "sqlcoder-nano", "digest": "00"},
    files=(),
    weight_bytes=7,
    parameters=14,
    bits_per_weight=4.0,
    tool_versions={},
    build_key="k",
)


def make(folder: Path) -> Artifact:
    with staged(folder) as stage:
        (stage.folder / "model.gguf").write_bytes(b"weights")
        (stage.folder / "sub").mkdir()
        (stage.folder / "sub" / MANIFEST_NAME).write_text("{}")
        seal(stage.folder, MANIFEST)
    return open_artifact(folder)


def test_seal_and_open(tmp_path: Path) -> None:
    artifact = make(tmp_path / "q4")
    assert artifact.name == "q4"
    assert [entry.path for entry in artifact.manifest.files] == ["model.gguf", f"sub/{MANIFEST_NAME}"]
    assert artifact.manifest.files[0].bytes == 7
    assert artifact.manifest.files[0].sha256.startswith("9a129038")
    assert artifact.weight_file(".gguf").name == "model.gguf"
    assert [path.name for path in tmp_path.iterdir()] == ["q4"]


def test_sealing_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert (first.path / MANIFEST_NAME).read_bytes() == (second.path / MANIFEST_NAME).read_bytes()


def test_one_weight_file_is_expected(tmp_path: Path) -> None:
    artifact = make(tmp_path / "q4")
    with pytest.raises(ArtifactError, match=r"0 files ending in \.onnx"):
        artifact.weight_file(".onnx")


def test_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="build it first"):
        open_artifact(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": []}', '{"files": [{"path": "x"}]}', "\xff"])
def test_a_broken_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactError, match="cannot be understood"):
        open_artifact(tmp_path)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "sub/../../secret"])
def test_a_manifest_names_no_file_outside(tmp_path: Path, path: str) -> None:
    artifact = make(tmp_path / "q4")
    record = json.loads((artifact.path / MANIFEST_NAME).read_text())
    record["files"][0]["path"] = path
    (artifact.path / MANIFEST_NAME).write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match="lies outside"):
        open_artifact(artifact.path)


@pytest.mark.parametrize("content", [None, b"weight", b"weightss"])
def test_a_missing_or_resized_file(tmp_path: Path, content: bytes | None) -> None:
    artifact = make(tmp_path / "q4")
    file = artifact.path / "model.gguf"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ArtifactError, match="missing or cut short"):
        open_artifact(artifact.path)


def test_digests_that_are_known_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    sealed = seal(tmp_path, MANIFEST, {"a": "known"})
    assert [entry.sha256[:5] for entry in sealed.files] == ["known", "3e23e"]
    assert known_files(tmp_path) == {*UNLISTED, "a", "b"}


def test_a_folder_that_is_no_artifact_has_no_known_files(tmp_path: Path) -> None:
    assert known_files(tmp_path) == set()
    (tmp_path / MANIFEST_NAME).write_text("{")
    assert known_files(tmp_path) == set(UNLISTED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_the_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert sha256_json(value) == sha256_json(dict(reversed(value.items())))


def test_what_a_killed_sealing_left_is_no_file_of_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (tmp_path / ".manifest.json.new").write_text("{half")
    assert [entry.path for entry in seal(tmp_path, MANIFEST).files] == ["weights.bin"]
    assert not (tmp_path / ".manifest.json.new").exists()


def test_what_vouched_for_a_manifest_goes_with_it(tmp_path: Path) -> None:
    artifact = make(tmp_path / "q4")
    for name in (PROVENANCE, SIGNATURE):
        (artifact.path / name).write_text("of the manifest as it is")
    write_manifest(artifact.path, artifact.manifest)
    assert (artifact.path / SIGNATURE).is_file()
    write_manifest(artifact.path, dataclasses.replace(artifact.manifest, acceptance={"verdict": "refuted"}))
    assert not (artifact.path / PROVENANCE).exists()
    assert not (artifact.path / SIGNATURE).exists()
