"""Uploads by the Hub's own client to a local server, and what is not uploaded."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_upload_server import COMMIT, UploadHub
from test_artifact import make

from workbench.artifact import open_artifact, write_manifest
from workbench.errors import ArtifactError, WorkbenchError
from workbench.push import PushRequest, objection, push


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    with UploadHub("secret") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def folder(tmp_path) -> Path:
    make(tmp_path / "q4")
    (tmp_path / "q4" / "left-behind.tmp").write_text("not of the artifact")
    return tmp_path / "q4"


def change(folder: Path, **fields) -> Path:
    write_manifest(folder, dataclasses.replace(open_artifact(folder).manifest, **fields))
    return folder


REFUTED = {"verdict": "refuted", "reason": "with 95% confidence it loses at least 8.0 points"}


def run(hub: UploadHub | str, tmp_path: Path, *arguments, token: str = "secret") -> subprocess.CompletedProcess[str]:
    """As a user types it: the Hub's address is read when its client is imported."""
    address = hub if isinstance(hub, str) else hub.address
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "hf")}
    environment = {**environment, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "workbench", "push", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


def test_what_the_manifest_lists_is_uploaded_and_nothing_else(hub, folder, tmp_path):
    done = run(hub, tmp_path, folder, "--to", "me/nano-gguf")
    assert done.returncode == 0, done.stderr
    assert hub.private == {"me/nano-gguf": True}
    assert set(hub.files) == {"manifest.json", "model.gguf", "sub/manifest.json"}
    assert hub.files["model.gguf"] == b"weights"
    assert hub.files["manifest.json"] == (folder / "manifest.json").read_bytes()
    assert hub.messages == ["q4 of sqlcoder-nano, made by sqlcoder-workbench"]
    assert f"me/nano-gguf/commit/{COMMIT}" in done.stdout


def test_what_the_gate_could_not_tell_is_said(hub, folder, tmp_path):
    change(folder, acceptance={"verdict": "not enough questions", "reason": "8 questions leave much open"})
    done = run(hub, tmp_path, folder, "--to", "me/nano-gguf")
    assert done.returncode == 0
    assert "its accuracy gate: not enough questions: 8 questions leave much open" in done.stdout


def test_a_public_repository_that_is_there_already(hub, folder, tmp_path):
    assert run(hub, tmp_path, folder, "--to", "me/nano-gguf", "--public").returncode == 0
    assert hub.private == {"me/nano-gguf": False}
    hub.files.clear()
    assert run(hub, tmp_path, folder, "--to", "me/nano-gguf").returncode == 0
    assert len(hub.files) == 3


def test_a_refuted_artifact_is_refused_without_force(hub, folder, tmp_path):
    change(folder, acceptance=REFUTED)
    done = run(hub, tmp_path, folder, "--to", "me/nano-gguf")
    refused(done, "was refuted by its accuracy gate", "loses at least 8.0 points", "--force")
    assert hub.private == {}
    forced = run(hub, tmp_path, folder, "--to", "me/nano-gguf", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "uploaded by --force: it was refuted" in forced.stdout
    assert len(hub.files) == 3


def test_what_does_not_conform_is_refused(folder):
    change(folder, conformance={"passed": False})
    with pytest.raises(ArtifactError, match=r"does not compute what its source computes.*--force"):
        push(PushRequest(folder, "me/nano-gguf"))


@pytest.mark.parametrize(
    ("fields", "objected"),
    [
        ({}, False),
        ({"conformance": {"passed": True}}, False),
        ({"acceptance": {"verdict": "proved"}}, False),
        ({"acceptance": {"verdict": "not enough questions"}}, False),
        ({"acceptance": REFUTED}, True),
        ({"conformance": {"passed": False}}, True),
    ],
)
def test_what_speaks_against_an_artifact(folder, fields, objected):
    assert (objection(open_artifact(change(folder, **fields))) is not None) == objected


@pytest.mark.parametrize("name", ["nano", "me/nano/gguf", "", "me/", "https://huggingface.co/me/nano"])
def test_what_is_no_repository(folder, name):
    with pytest.raises(WorkbenchError, match="OWNER/NAME"):
        push(PushRequest(folder, name))


def test_what_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="build it first"):
        push(PushRequest(tmp_path, "me/nano"))


def test_a_token_that_may_not_write(hub, folder, tmp_path):
    refused(run(hub, tmp_path, folder, "--to", "me/nano", token="other"), "hf auth login")
    assert hub.files == {}


def test_no_token(hub, folder, tmp_path):
    refused(run(hub, tmp_path, folder, "--to", "me/nano", token=""), "hf auth login")


def test_an_upload_that_breaks_off_goes_on_from_there(hub, folder, tmp_path):
    hub.broken = True
    refused(run(hub, tmp_path, folder, "--to", "me/nano"), "run again")
    assert hub.files == {}
    hub.broken = False
    assert run(hub, tmp_path, folder, "--to", "me/nano").returncode == 0


def test_no_connection(folder, tmp_path):
    refused(run("http://127.0.0.1:1", tmp_path, folder, "--to", "me/nano"), "connection to the Hub broke off")
