"""Whatever is pushed, fails and is pushed again: every commit of a repository holds whole packages, and never a mix."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from local_hub import LocalHub, Repository
from packages_made import made_package
from pushing import TOKEN, send, there, writable_hub

from workbench.card import repository_card
from workbench.errors import WorkbenchError
from workbench.hub_layout import packages_in, place
from workbench.untrusted_manifest import read_manifest

REPOSITORY = "me/nano-gguf"
FAULTS = [("POST", "/commit/"), ("POST", "/preupload/"), ("PUT", "/"), ("POST", "/objects/batch"), ("GET", "/tree/")]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with writable_hub(monkeypatch, tmp_path) as server:
        yield server


@cache
def variant(folder: Path, recipe: str, number: int) -> Path:
    """A package of a recipe; each number has a file of its own."""
    more = {f"only-{number}.txt": f"of {number}\n", "SERVE.md": f"{number}\n"}
    return made_package(folder / f"{recipe}-{number}", recipe, more=more, details={"number": number})


def check_whole(repository: Repository, revision: str) -> None:
    """Every package of a commit holds all that its manifest lists, and nothing else lies where a package lies."""
    names = repository.names(revision)
    packages = packages_in(names)
    expected = set()
    for recipe, prefix in packages.items():
        manifest = json.loads(repository.read(f"{prefix}manifest.json", revision))
        assert manifest["name"] == recipe
        for entry in manifest["files"]:
            path = place(manifest["format"], recipe, entry["path"])
            assert hashlib.sha256(repository.read(path, revision)).hexdigest() == entry["sha256"]
            expected.add(path)
    lying = {name for name in names if name.split("/")[0] in packages or name.endswith(".gguf")}
    unlisted = {
        f"{prefix}{name}" for prefix in packages.values() for name in ("manifest.json", "provenance.intoto.json")
    }
    assert lying == expected | unlisted
    assert repository.read("README.md", revision).decode() == repository_card(
        manifests(repository, revision), REPOSITORY
    )


def manifests(repository: Repository, revision: str) -> list:
    folder = Path(mkdtemp())
    found = []
    for prefix in packages_in(repository.names(revision)).values():
        (folder / "manifest.json").write_bytes(repository.read(f"{prefix}manifest.json", revision))
        found.append(read_manifest(folder / "manifest.json"))
    return found


versions = st.tuples(st.sampled_from(["q2", "q4"]), st.integers(1, 2))
chosen = st.lists(versions, min_size=1, max_size=2, unique_by=lambda one: one[0])
faults = st.tuples(st.sampled_from(FAULTS), st.sampled_from([403, 500, "cut", "lost"]), st.integers(1, 30))
pushes = st.lists(st.tuples(chosen, st.none() | faults), min_size=1, max_size=4)


@given(pushes)
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],  # no shrinking: each example takes a second
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_commit_holds_whole_packages(hub: LocalHub, tmp_path: Path, pushes) -> None:
    hub.repositories.clear()
    for wanted, fault in pushes:
        folders = [variant(tmp_path, *one) for one in wanted]
        if fault:
            (method, pattern), status, times = fault
            hub.fail(method, pattern, status, after_bytes=500, times=times)
        try:
            send(*folders, REPOSITORY, out=tmp_path)
        except WorkbenchError as error:
            assert TOKEN not in str(error)
        hub.heal()
    send(*folders, REPOSITORY, out=tmp_path)
    repository = hub.repository(REPOSITORY)
    for commit in repository.history()[:-1]:  # the first is the Hub's own
        check_whole(repository, commit.oid)
    found = there(hub, REPOSITORY)
    for (recipe, number), folder in zip(wanted, folders, strict=True):
        assert found[f"{recipe}/only-{number}.txt"] == (folder / f"only-{number}.txt").read_bytes()
        assert f"{recipe}/only-{3 - number}.txt" not in found
