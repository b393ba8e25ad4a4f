"""Pulls that a network, a disk, a kill or a refusal ends: one sentence, and the next run goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub
from pulled import SECRET, contents, in_repository, left_behind, package_once, pulling, run

from workbench.errors import (
    ArtifactError,
    DisconnectedError,
    PrerequisiteError,
    StorageError,
    TransferError,
)
from workbench.package import PackageRequest, package
from workbench.pull import PullRequest, pull


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


@pytest.fixture
def weights(int8: Path) -> bytes:
    """Those of the package."""
    return (int8 / "model.safetensors").read_bytes()


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
    assert hub.address not in str(raised.value)
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


def test_a_full_disk_is_told_before_weights_are_fetched(
    hub: LocalHub, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 100_000))  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="are needed and"):
        pull(PullRequest("me/nano"))
    assert not hub.asked(origin="cdn")
    assert not Path("nano").exists()


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


@pytest.mark.parametrize("why", ["told", "no network"])
def test_the_command_without_a_connection(hub: LocalHub, made: Path, tmp_path: Path, why: str) -> None:
    more = {"HF_HUB_OFFLINE": "1"} if why == "told" else {"HF_ENDPOINT": "http://127.0.0.1:1"}
    done = run(hub, tmp_path, "me/nano", **more)
    assert done.returncode == 2
    assert ("unset it to pull" if why == "told" else "no connection to the Hub") in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path().iterdir())


def test_a_repository_without_files(hub: LocalHub, made: Path) -> None:
    hub.fail("GET", "/tree/", 404)
    with pytest.raises(PrerequisiteError):
        pull(PullRequest("me/nano"))
    hub.plant("GET", "/tree/", b"{}", status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(ArtifactError, match="holds no package"):
        pull(PullRequest("me/nano"))
