"""Packages pulled from a local stand-in for the Hub: what arrives, what is refused, what is left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_hub import LocalHub
from packages import nano_package

from workbench.artifact import open_artifact
from workbench.errors import (
    ArtifactError,
    DisconnectedError,
    PrerequisiteError,
    StorageError,
    TransferError,
    VerificationError,
    WorkbenchError,
)
from workbench.hub_layout import place
from workbench.package import PackageRequest, package
from workbench.package_files import PROVENANCE, SIGNATURE
from workbench.progress import Listener
from workbench.pull import PullRequest, pull
from workbench.push import PushRequest, push
from workbench.signing_keys import make_key

SECRET = "hf_planted_secret"
WEIGHTS = "model.safetensors"


class Notes(Listener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.bytes: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, what: str, done: int, total: int) -> None:
        assert done <= total
        self.bytes.append(done)


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package; nobody changes it."""
    return nano_package("int8", tmp_path_factory.mktemp("int8") / "int8")


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
    place = tmp_path_factory.mktemp("gguf")
    return {recipe: nano_package(recipe, place / recipe / recipe) for recipe in ("gguf-q4_k_m", "gguf-q8_0")}


@pytest.fixture(scope="module")
def signed(gguf: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of them, signed; the public key lies beside it."""
    pytest.importorskip("OpenSSL", reason="model-signing needs pyopenssl; pip install pyopenssl")
    place = tmp_path_factory.mktemp("signed")
    folder = shutil.copytree(gguf["gguf-q8_0"], place / "gguf-q8_0")
    make_key(place / "key")
    package(PackageRequest(folder, sign_key=place / "key"))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if not file.is_dir()}


def in_repository(folder: Path) -> dict[str, bytes]:
    """A package's files where ``push`` lays them."""
    manifest = open_artifact(folder).manifest
    return {place(manifest.format, manifest.name, name): data for name, data in contents(folder).items()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with LocalHub() as server:
        server.add_token(SECRET, "me")
        server.use(monkeypatch, tmp_path, SECRET)
        yield server


@pytest.fixture
def made(hub: LocalHub, int8: Path) -> Path:
    """A package's folder, which is the private repository me/nano too."""
    hub.add_repository("me/nano", in_repository(int8), private=True)
    return int8


@pytest.fixture
def weights(int8: Path) -> bytes:
    """Those of the package."""
    return (int8 / WEIGHTS).read_bytes()


def left_behind() -> set[str]:
    """What lies in the current folder but locks."""
    return {path.name for path in Path().iterdir() if not path.name.endswith(".lock")}


def change(hub: LocalHub, **files: bytes | None) -> None:
    hub.repository("me/nano").put({name.replace("__", "."): data for name, data in files.items()})


def change_manifest(hub: LocalHub, edit: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(hub.repository("me/nano").read("manifest.json"))
    edit(record)
    change(hub, manifest__json=json.dumps(record).encode())


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
    with pytest.raises(VerificationError, match="signature"):
        pull(PullRequest("me/signed", to=Path("other"), public_key=tmp_path / "other.pub"))
    hub.add_repository("me/unsigned", in_repository(gguf["gguf-q4_k_m"]))
    with pytest.raises(VerificationError, match="signature"):
        pull(PullRequest("me/unsigned", to=Path("other"), public_key=key))
    assert left_behind() == {"unseen", "seen"}


@pytest.mark.parametrize("name", [PROVENANCE, SIGNATURE])
def test_what_vouches_is_not_to_be_taken_away(hub: LocalHub, signed: Path, name: str) -> None:
    files = in_repository(signed)
    del files[f"gguf-q8_0/{name}"]
    hub.add_repository("me/signed", files)
    with pytest.raises(VerificationError):
        pull(PullRequest("me/signed", public_key=signed.with_name("key.pub")))
    assert left_behind() == set()


def test_a_package_without_provenance_is_none(hub: LocalHub, made: Path) -> None:
    hub.repository("me/nano").put({PROVENANCE: None})
    with pytest.raises(VerificationError, match="provenance"):
        pull(PullRequest("me/nano"))
    assert left_behind() == set()


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


def test_a_repository_without_files(hub: LocalHub, made: Path) -> None:
    hub.fail("GET", "/tree/", 404)
    with pytest.raises(PrerequisiteError):
        pull(PullRequest("me/nano"))
    hub.plant("GET", "/tree/", b"{}", status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(ArtifactError, match="holds no package"):
        pull(PullRequest("me/nano"))


def test_other_files_are_counted_and_left(hub: LocalHub, made: Path) -> None:
    hub.repository("me/nano").put({"modeling_x.py": b"import os", "logs/1.txt": b"log", "x.safetensors": b"more"})
    heard = Notes()
    pull(PullRequest("me/nano"), heard)
    assert "3 files of the repository that the manifest does not list: not fetched" in heard.notes
    assert contents(Path("nano")) == contents(made)


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_a_lost_connection_costs_nothing(hub: LocalHub, made: Path, size: int) -> None:
    hub.fail("GET", "/cdn/", "cut", after_bytes=size)
    hub.fail("GET", "/cdn/", "cut", times=None)
    with pytest.raises(
        DisconnectedError, match=r"broke off while me/nano was fetched.*run again, it goes on from there"
    ):
        pull(PullRequest("me/nano"))
    assert left_behind() == {".nano.partial", ".nano.journal"}
    hub.heal()
    hub.requests.clear()
    pull(PullRequest("me/nano"))
    assert contents(Path("nano")) == contents(made)
    assert left_behind() == {"nano"}
    assert [request.headers.get("range") for request in hub.asked("GET", "/cdn/")] == [
        f"bytes={size}-" if size else None
    ]
    assert not hub.asked("GET", "/config.json")  # was finished


def test_what_was_left_half_written_is_fetched_whole(hub: LocalHub, made: Path) -> None:
    hub.fail("GET", "/cdn/", "cut", after_bytes=100_000)
    hub.fail("GET", "/cdn/", "cut", times=None)
    with pytest.raises(DisconnectedError):
        pull(PullRequest("me/nano"))
    part = Path(".nano.partial/model.safetensors")
    part.write_bytes(bytes(len(part.read_bytes())))
    hub.heal()
    pull(PullRequest("me/nano"))
    assert contents(Path("nano")) == contents(made)


def test_a_commit_in_between_begins_anew(hub: LocalHub, made: Path, newer: Path) -> None:
    hub.fail("GET", "/cdn/", "cut", after_bytes=100_000)
    hub.fail("GET", "/cdn/", "cut", times=None)
    with pytest.raises(DisconnectedError):
        pull(PullRequest("me/nano"))
    hub.heal()
    hub.repository("me/nano").put(in_repository(newer))
    pull(PullRequest("me/nano"))
    assert contents(Path("nano")) == contents(newer)


@pytest.mark.parametrize(
    ("where", "status", "error", "sentence"),
    [
        ("/revision/", 401, PrerequisiteError, "does not show you me/nano .*hf auth login"),
        ("/revision/", 403, PrerequisiteError, "does not show you me/nano .*hf auth login"),
        ("/revision/", 404, PrerequisiteError, "does not show you me/nano .*check name and revision"),
        ("/tree/", 429, DisconnectedError, "again in a while"),
        ("/tree/", 500, DisconnectedError, "in trouble"),
        ("/resolve/", 403, PrerequisiteError, "does not show you"),
        ("/resolve/", 418, TransferError, "refuses to hand out"),
        ("/cdn/", 403, PrerequisiteError, "does not show you"),
        ("/cdn/", 503, DisconnectedError, "in trouble .*goes on from there"),
        ("/tree/", "cut", DisconnectedError, "broke off"),
    ],
)
def test_refusals_of_the_hub(
    hub: LocalHub, made: Path, where: str, status: int | str, error: type[Exception], sentence: str
) -> None:
    hub.fail("GET", where, status, times=None)
    with pytest.raises(error, match=sentence) as raised:
        pull(PullRequest("me/nano"))
    assert SECRET not in str(raised.value)
    assert "Signature" not in str(raised.value)
    assert not Path("nano").exists()


def test_private_gated_and_missing(hub: LocalHub, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_token("hf_stranger", "stranger")
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    with pytest.raises(PrerequisiteError, match="does not show you me/nano"):
        pull(PullRequest("me/nano"))
    with pytest.raises(PrerequisiteError, match="does not show you me/none"):
        pull(PullRequest("me/none"))
    hub.repository("me/nano").private = False
    hub.repository("me/nano").gated = "auto"
    with pytest.raises(PrerequisiteError, match="gated; accept its terms"):
        pull(PullRequest("me/nano"))
    hub.repository("me/nano").readers.add("stranger")
    assert pull(PullRequest("me/nano")).name == "int8"


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


def test_a_full_disk_is_told_before_weights_are_fetched(
    hub: LocalHub, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 100_000))  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="are needed and"):
        pull(PullRequest("me/nano"))
    assert not hub.asked(origin="cdn")
    assert not Path("nano").exists()


def test_every_altered_file_is_found_and_nothing_is_left(hub: LocalHub, made: Path) -> None:
    for name, data in contents(made).items():
        hub.repository("me/nano").put({name: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]})
        with pytest.raises((VerificationError, ArtifactError), match="me/nano"):
            pull(PullRequest("me/nano"))
        assert left_behind() == set()
        hub.repository("me/nano").put({name: data})


def test_a_storage_that_lies_is_found(hub: LocalHub, made: Path, weights: bytes) -> None:
    hub.plant("GET", "/cdn/", weights[::-1])
    with pytest.raises(VerificationError, match=r"model\.safetensors of me/nano is not what"):
        pull(PullRequest("me/nano"))
    assert left_behind() == set()


def test_sizes_are_compared_before_weights_are_fetched(hub: LocalHub, made: Path, weights: bytes) -> None:
    change(hub, model__safetensors=weights + b"!")
    with pytest.raises(VerificationError, match=f"{len(weights) + 1} bytes, not {len(weights)}"):
        pull(PullRequest("me/nano"))
    change(hub, model__safetensors=None)
    with pytest.raises(VerificationError, match=r"lacks model\.safetensors"):
        pull(PullRequest("me/nano"))
    assert not hub.asked(origin="cdn")
    assert left_behind() == set()


NAMES = [
    "../evil", "/etc/passwd", "sub/../../evil", "sub\\evil", "C:evil", "con.txt", "a\x00b", "evil.", "", ".", "a//b",
    "manifest.json", "Config.json", "config.json/below", "evil\u202e.txt", "a/" * 9 + "b", "e" * 250, "\x1b[31mred",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_no_package_may_hold(hub: LocalHub, made: Path, name: str) -> None:
    entry = {"path": name, "bytes": 4, "sha256": "0" * 64}
    change_manifest(hub, lambda record: record["files"].append(entry))
    with pytest.raises(ArtifactError) as raised:
        pull(PullRequest("me/nano"))
    assert str(raised.value).isprintable()
    assert left_behind() == set()
    assert not hub.asked(origin="cdn")


def _twice(record: dict[str, Any]) -> None:
    record["files"].append(record["files"][0])


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: record.update(files={}), lambda record: record.update(files=[1]),
        lambda record: record.update(files=[{"path": 1, "bytes": 1, "sha256": "0" * 64}]),
        lambda record: record["files"][0].update(bytes=-1), lambda record: record["files"][0].update(bytes="1"),
        lambda record: record["files"][0].update(bytes=True), lambda record: record["files"][0].update(bytes=1e400),
        lambda record: record["files"][0].update(sha256="../x"), lambda record: record["files"][0].update(mode=0o777),
        lambda record: record.update({"\x1b]0;evil\x07": 1}), lambda record: record.update(name="../x"),
        lambda record: record.update(format=["gguf"]), lambda record: record.pop("files"), _twice,
        lambda record: record.update(files=[dict(record["files"][0], path=f"f{n}") for n in range(6000)]),
    ],
)  # fmt: skip
def test_manifests_that_are_none(hub: LocalHub, made: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    change_manifest(hub, edit)
    with pytest.raises(WorkbenchError) as raised:
        pull(PullRequest("me/nano"))
    assert str(raised.value).isprintable()
    assert left_behind() == set()
    assert not hub.asked(origin="cdn")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff\xfe", b'{"files": ' + b"9" * 9000])
def test_manifests_that_are_no_json(hub: LocalHub, made: Path, data: bytes) -> None:
    change(hub, manifest__json=data)
    with pytest.raises(WorkbenchError):
        pull(PullRequest("me/nano"))
    assert left_behind() == set()


def test_a_manifest_of_a_gigabyte_is_not_fetched(hub: LocalHub, made: Path) -> None:
    listing = [{"type": "file", "path": "manifest.json", "size": 10**9, "oid": "0" * 40}]
    hub.plant("GET", "/tree/", json.dumps(listing).encode())
    with pytest.raises(VerificationError, match="1000000000 bytes, which no manifest has"):
        pull(PullRequest("me/nano"))
    assert not hub.asked("GET", "/resolve/")


def test_a_manifest_that_grows_on_the_way(hub: LocalHub, made: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"[" * 4096

    hub.plant("GET", "/resolve/", endless)
    with pytest.raises(TransferError, match="more than the"):
        pull(PullRequest("me/nano"))
    assert left_behind() == set()


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=30))
def test_no_name_of_a_listing_becomes_a_path(name: str) -> None:
    """Whatever a repository lists beside a package stays there, and what a folder is called does not matter."""
    from workbench.hub_layout import packages_in

    found = packages_in([name, f"{name}/manifest.json", "gguf-q8_0/manifest.json"])
    assert all(
        prefix == f"{recipe}/" and "/" not in recipe and ".." not in recipe
        for recipe, prefix in found.items()
        if recipe
    )


def test_a_package_in_the_wrong_folder(hub: LocalHub, gguf: dict[str, Path]) -> None:
    files = {f"gguf-q8_0/{name}": data for name, data in contents(gguf["gguf-q4_k_m"]).items()}
    hub.add_repository("me/wrong", files)
    with pytest.raises(VerificationError, match="is not of gguf-q8_0"):
        pull(PullRequest("me/wrong"))


@pytest.mark.parametrize("place", [".nano.partial", ".nano.partial/model.safetensors", ".nano.partial/.eval_results"])
def test_links_planted_beside_are_not_followed(hub: LocalHub, made: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    hub.fail("GET", "/cdn/", "cut", times=None)
    with pytest.raises(DisconnectedError):
        pull(PullRequest("me/nano"))
    hub.heal()
    planted = Path(place)
    shutil.rmtree(planted) if planted.is_dir() else planted.unlink()
    planted.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkbenchError, match="holds links, which no pull makes"):
        pull(PullRequest("me/nano"))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_disk_that_fills_up_on_the_way(hub: LocalHub, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from workbench import hub_transfer

    def write(self: Any, piece: Any) -> None:
        if self.position + len(piece) > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(self, piece)

    written = hub_transfer._Growing.write
    with monkeypatch.context() as patch:
        patch.setattr(hub_transfer._Growing, "write", write)
        with pytest.raises(StorageError, match=r"the disk of nano is full; free some space"):
            pull(PullRequest("me/nano"))
    assert left_behind() == {".nano.partial", ".nano.journal"}
    pull(PullRequest("me/nano"))
    assert contents(Path("nano")) == contents(made)
    assert hub.asked("GET", "/cdn/")[-1].headers["range"].startswith("bytes=")


def test_a_killed_pull_goes_on(hub: LocalHub, made: Path, weights: bytes, tmp_path: Path) -> None:
    import threading

    sent = threading.Event()

    def halves() -> Iterator[bytes]:
        yield weights[:200_000]
        sent.wait(60)

    hub.plant("GET", "/cdn/", halves, times=1)
    command = [sys.executable, "-m", "workbench", "pull", "me/nano"]
    environment = hub.environment(tmp_path, SECRET)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        part = Path(".nano.partial/model.safetensors")
        while running.poll() is None and not (part.is_file() and part.stat().st_size >= 8192):
            sent.wait(0.02)
        running.kill()
    sent.set()
    there = part.stat().st_size
    assert not Path("nano").exists()
    assert run(hub, tmp_path, "me/nano").returncode == 0
    assert contents(Path("nano")) == contents(made)
    assert hub.asked("GET", "/cdn/")[-1].headers["range"] == f"bytes={there}-"


def test_two_pulls_at_a_time(hub: LocalHub, made: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        assert {artifact.name for artifact in pool.map(pull, [PullRequest("me/nano")] * 2)} == {"int8"}
    assert contents(Path("nano")) == contents(made)
    assert len(hub.asked("GET", "/cdn/")) == 1


def run(hub: LocalHub, tmp_path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = hub.environment(tmp_path, SECRET) | more
    return subprocess.run(
        [sys.executable, "-m", "workbench", "pull", *arguments],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip


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


@pytest.mark.parametrize("why", ["told", "no network"])
def test_the_command_without_a_connection(hub: LocalHub, made: Path, tmp_path: Path, why: str) -> None:
    more = {"HF_HUB_OFFLINE": "1"} if why == "told" else {"HF_ENDPOINT": "http://127.0.0.1:1"}
    done = run(hub, tmp_path, "me/nano", **more)
    assert done.returncode == 2
    assert ("unset it to pull" if why == "told" else "no connection to the Hub") in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path().iterdir())
