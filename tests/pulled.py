"""What tests of ``workbench pull`` share: real packages, made once, on a local stand-in for the Hub."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local_hub import LocalHub
from packages import nano_package

from workbench.artifact import open_artifact
from workbench.hub_layout import place
from workbench.progress import Listener

SECRET = "hf_planted_secret"
_MADE: dict[str, Path] = {}


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


def package_once(recipe: str, factory: pytest.TempPathFactory) -> Path:
    """A package of the bundled model; nobody may change it."""
    if recipe not in _MADE:
        _MADE[recipe] = nano_package(recipe, factory.mktemp("packages") / recipe)
    return _MADE[recipe]


@contextmanager
def pulling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """A Hub that the client in this process talks to, without waiting, from an empty current folder."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with LocalHub() as server:
        server.add_token(SECRET, "me")
        server.use(monkeypatch, tmp_path, SECRET)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if not file.is_dir()}


def in_repository(folder: Path) -> dict[str, bytes]:
    """A package's files where ``push`` lays them."""
    manifest = open_artifact(folder).manifest
    return {place(manifest.format, manifest.name, name): data for name, data in contents(folder).items()}


def left_behind() -> set[str]:
    """What lies in the current folder but locks."""
    return {path.name for path in Path().iterdir() if not path.name.endswith(".lock")}


def run(hub: LocalHub, tmp_path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``workbench pull`` as a user types it."""
    environment = hub.environment(tmp_path, SECRET) | more
    return subprocess.run(
        [sys.executable, "-m", "workbench", "pull", *arguments],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
