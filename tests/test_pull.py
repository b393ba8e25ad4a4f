"""Packages pulled from a local stand-in for the Hub: what arrives, and what is there already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from local_hub import LocalHub
from pulled import SECRET, Notes, contents, in_repository, left_behind, package_once, pulling, run

from workbench.errors import (
    ArtifactError,
    VerificationError,
    WorkbenchError,
)
from workbench.package import PackageRequest, package
from workbench.pull import PullRequest, pull
from workbench.push import PushRequest, push
from workbench.signing_keys import make_key


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with pulling(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package; nobody changes it."""
    return package_once("int8", tmp_path_factory)


@pytest.fixture
def made(hub: LocalHub, int8: Path) -> Path:
    """A package's folder, which is the private repository me/nano too."""
    hub.add_repository("me/nano", in_repository(int8), private=True)
    return int8


@pytest.fixture(scope="module")
def newer(int8: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model packaged otherwise; nobody changes it."""
    folder = shutil.copytree(int8, tmp_path_factory.mktemp("newer") / "int8")
    package(PackageRequest(folder, repository="me/nano"))
    assert (folder / "manifest.json").read_bytes() != (int8 / "manifest.json").read_bytes()
    return folder


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two packages that share a repository, by recipe; nobody changes them."""
    return {recipe: package_once(recipe, tmp_path_factory) for recipe in ("gguf-q4_k_m", "gguf-q8_0")}


@pytest.fixture(scope="module")
def signed(gguf: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of them, signed; the public key lies beside it."""
    pytest.importorskip("OpenSSL", reason="model-signing needs pyopenssl; pip install pyopenssl")
    place = tmp_path_factory.mktemp("signed")
    folder = shutil.copytree(gguf["gguf-q8_0"], place / "gguf-q8_0")
    make_key(place / "key")
    package(PackageRequest(folder, sign_key=place / "key"))
    return folder


def change(hub: LocalHub, **files: bytes | None) -> None:
    hub.repository("me/nano").put({name.replace("__", "."): data for name, data in files.items()})


def test_a_package_comes_as_its_folder_was(hub: LocalHub, made: Path) -> None:
    heard = Notes()
    artifact = pull(PullRequest("me/nano"), heard)
    assert artifact.path == Path("nano")
    assert contents(Path("nano")) == contents(made)
    assert left_behind() == {"nano"}
    assert sum(one > following for one, following in pairwise(heard.bytes)) == 1  # fetched, then looked at
    assert not [file for file in Path("nano").rglob("*") if file.is_symlink()]
    assert all(file.stat().st_mode & 0o111 == 0 for file in Path("nano").rglob("*") if file.is_file())
    assert all(request.token is None for request in hub.asked(origin="cdn"))


def test_packages_side_by_side(hub: LocalHub, gguf: dict[str, Path]) -> None:
    files = {"README.md": b"# all\n", "LICENSE": b"free\n", ".eval_results/gguf-q8_0.heldout.yaml": b"[]\n"}
    for folder in gguf.values():
        files |= in_repository(folder)
    hub.add_repository("me/nano-gguf", files)
    with pytest.raises(WorkbenchError, match="choose one with --recipe: gguf-q4_k_m, gguf-q8_0"):
        pull(PullRequest("me/nano-gguf"))
    with pytest.raises(WorkbenchError, match="no package 'int8'; give --recipe one of"):
        pull(PullRequest("me/nano-gguf", recipe="int8"))
    heard = Notes()
    pull(PullRequest("me/nano-gguf", recipe="gguf-q8_0"), heard)
    assert contents(Path("nano-gguf-gguf-q8_0")) == contents(gguf["gguf-q8_0"])
    assert not any("not fetched" in note for note in heard.notes)
    assert len(hub.asked("GET", "/cdn/")) == 1


def test_signatures(hub: LocalHub, gguf: dict[str, Path], signed: Path, tmp_path: Path) -> None:
    key = signed.with_name("key.pub")
    hub.add_repository("me/signed", in_repository(signed))
    heard = Notes()
    pull(PullRequest("me/signed", to=Path("unseen")), heard)
    assert any(note.startswith("signature not checked: ") for note in heard.notes)
    assert contents(Path("unseen")) == contents(signed)
    heard = Notes()
    pull(PullRequest("me/signed", to=Path("seen"), public_key=key), heard)
    assert any(note.startswith("checked: ") and "signature" in note for note in heard.notes)
    make_key(tmp_path / "other")
    asked = len(hub.requests)
    with pytest.raises(VerificationError, match="signature"):
        pull(PullRequest("me/signed", to=Path("seen"), public_key=tmp_path / "other.pub"))
    assert len(hub.requests) == asked + 2  # it lies there and is whole: fetched again, it would be no other
    with pytest.raises(VerificationError, match="signature"):
        pull(PullRequest("me/signed", to=Path("other"), public_key=tmp_path / "other.pub"))
    hub.add_repository("me/unsigned", in_repository(gguf["gguf-q4_k_m"]))
    with pytest.raises(VerificationError, match="signature"):
        pull(PullRequest("me/unsigned", to=Path("other"), public_key=key))
    assert left_behind() == {"unseen", "seen"}


def test_what_was_pushed_is_pulled(hub: LocalHub, int8: Path, gguf: dict[str, Path]) -> None:
    push(PushRequest((int8,), "me/pushed"))
    push(PushRequest(tuple(gguf.values()), "me/pushed-gguf"))
    for recipe, folder in gguf.items():
        heard = Notes()
        pull(PullRequest("me/pushed-gguf", recipe=recipe, to=Path(recipe)), heard)
        assert contents(Path(recipe)) == contents(folder)
        assert not any("not fetched" in note for note in heard.notes)
    pull(PullRequest("me/pushed"))
    assert contents(Path("pushed")) == contents(int8)


def test_a_recipe_that_a_repository_does_not_hold(hub: LocalHub, made: Path) -> None:
    with pytest.raises(ArtifactError, match="holds int8 and nothing else; leave out --recipe"):
        pull(PullRequest("me/nano", recipe="int4"))
    assert pull(PullRequest("me/nano", recipe="int8")).path == Path("nano")


def test_what_is_there_already_is_not_fetched_again(hub: LocalHub, made: Path) -> None:
    pull(PullRequest("me/nano"))
    asked, heard = len(hub.requests), Notes()
    pull(PullRequest("me/nano"), heard)
    assert heard.notes == ["nano is there already"]
    assert len(hub.requests) == asked + 2  # the commit, the listing


def test_what_was_altered_is_fetched_again(hub: LocalHub, made: Path) -> None:
    pull(PullRequest("me/nano"))
    Path("nano/config.json").write_bytes(Path("nano/config.json").read_bytes().upper())
    heard = Notes()
    pull(PullRequest("me/nano"), heard)
    assert "nano was altered since it was fetched; fetching it again" in heard.notes
    assert contents(Path("nano")) == contents(made)


def test_an_older_package_gives_way_and_other_folders_do_not(hub: LocalHub, made: Path, newer: Path) -> None:
    pull(PullRequest("me/nano"))
    hub.repository("me/nano").put(in_repository(newer))
    pull(PullRequest("me/nano"))
    assert contents(Path("nano")) == contents(newer)
    Path("nano/mine.txt").write_text("precious")
    with pytest.raises(WorkbenchError, match=r"nano holds mine\.txt, which is not ours to replace"):
        pull(PullRequest("me/nano", revision=hub.repository("me/nano").history()[1].oid))
    assert Path("nano/mine.txt").read_text() == "precious"
    Path("other").mkdir()
    Path("other/file").write_text("precious")
    with pytest.raises(WorkbenchError, match="not ours to replace"):
        pull(PullRequest("me/nano", to=Path("other")))
    Path("link").symlink_to("other")
    with pytest.raises(WorkbenchError, match="link is a link"):
        pull(PullRequest("me/nano", to=Path("link")))
    with pytest.raises(WorkbenchError, match="is a file"):
        pull(PullRequest("me/nano", to=Path("other/file")))
    assert left_behind() == {"nano", "other", "link"}


def test_revisions(hub: LocalHub, made: Path) -> None:
    repository = hub.repository("me/nano")
    first = repository.history()[0].oid
    repository.refs["refs/tags/v1"] = repository.refs["refs/pr/1"] = first
    change(hub, manifest__json=None)
    with pytest.raises(ArtifactError, match="holds no package"):
        pull(PullRequest("me/nano"))
    for number, revision in enumerate(("v1", "refs/pr/1", first)):
        assert pull(PullRequest("me/nano", revision=revision, to=Path(f"at{number}"))).name == "int8"
    with pytest.raises(WorkbenchError, match="no such revision"):
        pull(PullRequest("me/nano", revision="../../v2"))


def test_other_files_are_counted_and_left(hub: LocalHub, made: Path) -> None:
    hub.repository("me/nano").put({"modeling_x.py": b"import os", "logs/1.txt": b"log", "x.safetensors": b"more"})
    heard = Notes()
    pull(PullRequest("me/nano"), heard)
    assert "3 files of the repository that the manifest does not list: not fetched" in heard.notes
    assert contents(Path("nano")) == contents(made)


def test_who_is_trusted_is_asked_first(hub: LocalHub, made: Path) -> None:
    for options in ({"public_key": Path("none.pub")}, {"identity": "me"}, {"issuer": "you"}):
        with pytest.raises(WorkbenchError, match=r"cannot be read|in one way"):
            pull(PullRequest("me/nano", **options))  # type: ignore[arg-type]
    assert not hub.requests


@pytest.mark.parametrize("name", ["nano", "me/nano/x", "", "me/", "../nano", "me/..", "https://huggingface.co/me/nano"])
def test_what_is_no_repository(hub: LocalHub, name: str) -> None:
    with pytest.raises(WorkbenchError, match="OWNER/NAME"):
        pull(PullRequest(name))
    assert not hub.requests


def test_the_command(hub: LocalHub, made: Path, tmp_path: Path) -> None:
    done = run(hub, tmp_path, "me/nano", "--to", "there/nano")
    assert done.returncode == 0, done.stderr
    assert contents(Path("there/nano")) == contents(made)
    assert "Pull me/nano at" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    change(hub, config__json=(made / "config.json").read_bytes().upper())
    done = run(hub, tmp_path, "me/nano")
    assert done.returncode == 1
    assert "is not what its manifest lists" in done.stderr
    assert "Traceback" not in done.stderr
