"""The source's files: found where they lie, read no more than needed, and only those of what was converted."""

import hashlib
import shutil
from pathlib import Path

import pytest
from plain_artifacts import COMMIT, plain_artifact

from workbench.artifact import read_manifest, sha256_file
from workbench.checkpoint import open_checkpoint
from workbench.errors import ArtifactError
from workbench.nano import MODEL_DIR
from workbench.package import PackageRequest, package
from workbench.progress import SILENT
from workbench.source_files import find_source, source_files

EXPECTED = [
    {"path": file.name, "bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    for file in sorted(MODEL_DIR.iterdir())
    if file.suffix in (".json", ".safetensors")
]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled model as the Hub's client keeps a repository: blobs by their digests, and links to them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--nobody--none"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for file in MODEL_DIR.glob("*.*"):
        algorithm = "sha256" if file.suffix == ".safetensors" else "sha1"
        blob = repository / "blobs" / hashlib.new(algorithm, file.read_bytes()).hexdigest()
        shutil.copyfile(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr("workbench.source_files.sha256_file", counted)
    return names


def source(**changes: str | None) -> dict:
    return {"id": "nobody/none", "revision": COMMIT, "digest": open_checkpoint(str(MODEL_DIR)).digest, **changes}


def test_a_repository_in_the_cache_tells_the_digests_of_its_large_files(cached: Path, read: list[str]) -> None:
    found = find_source(source(), None, SILENT)
    assert found is not None
    assert source_files(found, SILENT) == EXPECTED
    assert not any(len(name) == 64 for name in read)  # the weights' blob bears its sha256


def test_another_revision_in_the_cache_is_not_the_source(cached: Path) -> None:
    assert find_source(source(revision="f" * 40), None, SILENT) is None


def test_half_a_repository_is_none(cached: Path) -> None:
    (cached / "model.safetensors").unlink()
    assert find_source(source(), None, SILENT) is None


def test_a_folders_files_are_read_once(tmp_path: Path, read: list[str]) -> None:
    folder = shutil.copytree(MODEL_DIR, tmp_path / "mine")
    for _ in range(2):
        found = find_source(source(id="mine", revision=None), str(folder), SILENT)
        assert found is not None
        assert source_files(found, SILENT) == EXPECTED
    assert sorted(read) == [entry["path"] for entry in EXPECTED]


def test_a_folder_that_changed_is_not_the_source(tmp_path: Path) -> None:
    folder = shutil.copytree(MODEL_DIR, tmp_path / "mine")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(ArtifactError, match="not the one that was converted"):
        find_source(source(), str(folder), SILENT)
    assert find_source({**source(), "id": str(folder)}, None, SILENT) is None


@pytest.mark.parametrize("wanted", ["nobody/none", "nobody/none@main", "/none", "none", "a/b/c"])
def test_a_source_that_was_named_must_be_there(wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ArtifactError, match="--source"):
        find_source(source(), wanted, SILENT)


def test_a_package_carries_them_and_keeps_them_when_the_source_is_gone(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plain_artifact(tmp_path / "q4", source=source()).path
    package(PackageRequest(folder))
    first = (folder / "manifest.json").read_bytes()
    assert read_manifest(folder).source["files"] == EXPECTED
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    package(PackageRequest(folder))
    assert (folder / "manifest.json").read_bytes() == first


def test_a_package_without_them_is_completed_when_the_source_is_named(tmp_path: Path) -> None:
    folder = plain_artifact(tmp_path / "q4", source=source(id="mine", revision=None)).path
    package(PackageRequest(folder))
    assert read_manifest(folder).source["files"] == []
    package(PackageRequest(folder, source=str(MODEL_DIR)))
    told = read_manifest(folder).source
    assert (told["files"], told["id"], "files_reason" in told) == (EXPECTED, "mine", False)
    assert str(MODEL_DIR) not in (folder / "manifest.json").read_text()
