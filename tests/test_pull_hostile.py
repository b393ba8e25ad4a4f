"""Pulls from attackers: names, manifests, listings, storages, links and proofs that are not what they should be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_hub import LocalHub
from pulled import contents, in_repository, left_behind, package_once, pulling

from workbench.errors import (
    ArtifactError,
    DisconnectedError,
    TransferError,
    VerificationError,
    WorkbenchError,
)
from workbench.package import PackageRequest, package
from workbench.package_files import PROVENANCE, SIGNATURE
from workbench.pull import PullRequest, pull
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


@pytest.fixture
def weights(int8: Path) -> bytes:
    """Those of the package."""
    return (int8 / "model.safetensors").read_bytes()


def change(hub: LocalHub, **files: bytes | None) -> None:
    hub.repository("me/nano").put({name.replace("__", "."): data for name, data in files.items()})


def change_manifest(hub: LocalHub, edit: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(hub.repository("me/nano").read("manifest.json"))
    edit(record)
    change(hub, manifest__json=json.dumps(record).encode())


NAMES = [
    "../evil", "/etc/passwd", "sub/../../evil", "sub\\evil", "C:evil", "con.txt", "a\x00b", "evil.", "", ".", "a//b",
    "manifest.json", "Config.json", "config.json/below", "evil\u202e.txt", "a/" * 9 + "b", "e" * 250, "\x1b[31mred",
]  # fmt: skip


def _twice(record: dict[str, Any]) -> None:
    record["files"].append(record["files"][0])


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


@pytest.mark.parametrize("name", NAMES)
def test_names_that_no_package_may_hold(hub: LocalHub, made: Path, name: str) -> None:
    entry = {"path": name, "bytes": 4, "sha256": "0" * 64}
    change_manifest(hub, lambda record: record["files"].append(entry))
    with pytest.raises(ArtifactError) as raised:
        pull(PullRequest("me/nano"))
    assert str(raised.value).isprintable()
    assert left_behind() == set()
    assert not hub.asked(origin="cdn")


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
