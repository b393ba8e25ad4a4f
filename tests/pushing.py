"""Shared by tests of uploads: a local Hub to write to, a listener that keeps what it hears, a look at what arrived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub

from workbench import hub_errors
from workbench.hub_commit import Written
from workbench.progress import Listener
from workbench.push import PushRequest, push

TOKEN = "hf_" + "0123456789abcdefghijABCDEFGHIJ"


class Heard(Listener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows: list[tuple[str, ...]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def table(self, table, legend: str = "") -> None:
        self.rows += table.rows

    @property
    def text(self) -> str:
        return "\n".join(self.notes)


@contextmanager
def writable_hub(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[LocalHub]:
    """A local Hub that the client of this process may write to; nobody waits between attempts."""
    monkeypatch.setattr(hub_errors, "pause", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with LocalHub() as server:
        server.add_token(TOKEN, "me", orgs=["org"])
        server.use(monkeypatch, home, TOKEN)
        yield server


def send(*arguments: Any, out: Path, **options: Any) -> tuple[list[Written], Heard]:
    """Push folders to the repository that comes last."""
    *folders, repository = arguments
    heard = Heard()
    return push(PushRequest(tuple(folders), repository, out=out / "no-store", **options), heard), heard


def there(hub: LocalHub, name: str, revision: str = "main") -> dict[str, bytes]:
    """Contents of a repository's files, but for the Hub's own."""
    repository = hub.repository(name)
    return {file: repository.read(file, revision) for file in repository.names(revision)}


def head(hub: LocalHub, name: str, revision: str = "main") -> str:
    return hub.repository(name).history(revision)[0].oid
