"""There and back: packages of the bundled model pushed to a local Hub, and pulled as the folders they were."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from packages import nano_package
from packages_made import files_of
from pushing import Heard, send, writable_hub

from workbench.artifact import open_artifact
from workbench.package_files import SIGNATURE
from workbench.pull import PullRequest, pull
from workbench.push_checks import is_packaged
from workbench.signing_keys import make_key


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with writable_hub(monkeypatch, tmp_path) as server:
        yield server


CAN_SIGN = find_spec("OpenSSL") is not None  # model-signing needs it


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> tuple[Path, Path] | tuple[None, None]:
    """A key to sign with, and its public half; nothing where nothing can be signed."""
    key = tmp_path_factory.mktemp("keys") / "key"
    return (key, make_key(key)) if CAN_SIGN else (None, None)


@pytest.fixture(scope="module")
def built(keys, tmp_path_factory) -> dict[str, Path]:
    """Folders of two finished packages by recipe, signed where that can be."""
    recipes = ("fp16", "gguf-q8_0")
    return {recipe: nano_package(recipe, tmp_path_factory.mktemp(recipe) / recipe, keys[0]) for recipe in recipes}


def test_there_and_back(hub, built, keys, tmp_path):
    before = {name: files_of(folder) for name, folder in built.items()}
    assert all(is_packaged(open_artifact(folder)) for folder in built.values())
    assert all((SIGNATURE in files) == CAN_SIGN for files in before.values())
    send(built["fp16"], "me/nano", out=tmp_path)
    send(built["gguf-q8_0"], "me/nano-gguf", out=tmp_path)
    for name, repository in (("fp16", "me/nano"), ("gguf-q8_0", "me/nano-gguf")):
        pull(PullRequest(repository, to=tmp_path / name, public_key=keys[1]), Heard())
        assert files_of(tmp_path / name) == before[name] == files_of(built[name])


def test_what_was_pulled_is_there_already_when_it_is_pushed(hub, built, tmp_path):
    (first,), _ = send(built["gguf-q8_0"], "me/nano-gguf", out=tmp_path)
    pull(PullRequest("me/nano-gguf", to=tmp_path / "pulled"), Heard())
    (again,), _ = send(tmp_path / "pulled", "me/nano-gguf", out=tmp_path)
    assert (again.commit, again.is_new) == (first.commit, False)
