"""Artifacts: what bears the final name is whole, whatever happens on the way."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.artifact import MANIFEST_NAME, Artifact, Manifest, open_artifact, seal, sha256_json, staged
from workbench.errors import ArtifactError, StorageError

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
    with staged(folder) as partial:
        (partial / "model.gguf").write_bytes(b"weights")
        (partial / "sub").mkdir()
        (partial / "sub" / MANIFEST_NAME).write_text("{}")
        seal(partial, MANIFEST)
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


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "q4") as partial:
        (partial / "model.gguf").write_bytes(b"half")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rebuild_keeps_the_old_artifact(tmp_path: Path) -> None:
    make(tmp_path / "q4")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "q4") as partial:
        (partial / "model.gguf").write_bytes(b"half")
        raise KeyboardInterrupt
    assert open_artifact(tmp_path / "q4").manifest.weight_bytes == 7
    assert [path.name for path in tmp_path.iterdir()] == ["q4"]


def test_a_rebuild_takes_the_place_of_the_old_artifact(tmp_path: Path) -> None:
    make(tmp_path / "q4")
    with staged(tmp_path / "q4") as partial:
        (partial / "other.gguf").write_bytes(b"new")
        seal(partial, MANIFEST)
    assert sorted(path.name for path in (tmp_path / "q4").iterdir()) == [MANIFEST_NAME, "other.gguf"]
    assert [path.name for path in tmp_path.iterdir()] == ["q4"]


def test_a_killed_build_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from workbench.artifact import staged\n"
        "with staged(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'model.gguf').write_bytes(b'half'); os._exit(9)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "q4")], check=False)
    assert result.returncode == 9
    assert not (tmp_path / "q4").exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "is full; free some space or choose another folder with --out"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only disk"),
        (errno.EACCES, "may not be written by this user"),
        (errno.EPERM, "may not be written by this user"),
    ],
)
def test_a_disk_that_refuses(tmp_path: Path, code: int, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught, staged(tmp_path / "q4"):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "q4") in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged(tmp_path / "q4"):
        (tmp_path / "no such source").read_bytes()
    with pytest.raises(ConnectionError), staged(tmp_path / "q4"):
        raise ConnectionError("the server is gone")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="lies below a file"), staged(tmp_path / "file" / "q4"):
        pass


def test_a_really_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which Linux has")
    with pytest.raises(StorageError, match="is full"), staged(tmp_path / "q4"), Path("/dev/full").open("wb") as disk:
        disk.write(b"x" * 100_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_the_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert sha256_json(value) == sha256_json(dict(reversed(value.items())))


def test_what_a_killed_build_left_is_cleared_and_a_running_one_is_not(tmp_path):
    dead, alive = tmp_path / ".a.partial-4194303", tmp_path / ".a.partial-1"  # above any default pid, and init
    for folder in (dead, alive):
        folder.mkdir()
    with staged(tmp_path / "a") as folder:
        (folder / "w").write_text("w")
    assert not dead.exists()
    assert alive.exists()
    assert (tmp_path / "a" / "w").is_file()
