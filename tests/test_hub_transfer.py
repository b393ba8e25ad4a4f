"""Files from the Hub, byte by byte: what comes, what is asked again, and what no server can do to us."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.errors import HTTPError as HubError
from hypothesis import given, settings
from hypothesis import strategies as st
from local_hub import LocalHub

from workbench.errors import TransferError
from workbench.hub_listing import list_repository
from workbench.hub_requests import WAITS_S, redirected
from workbench.hub_transfer import fetch_exactly

SECRET = "hf_planted_secret"
DATA = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: list[float]) -> Iterator[LocalHub]:
    monkeypatch.setattr("time.sleep", waits.append)
    with LocalHub() as server:
        server.add_token(SECRET, "me")
        server.use(monkeypatch, tmp_path, SECRET)
        server.add_repository("me/model", {"model.gguf": DATA, "config.json": b"{}\n" * 1000}, private=True)
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "part"


def url(hub: LocalHub, name: str = "model.gguf") -> str:
    return f"{hub.address}/me/model/resolve/main/{name}"


def test_a_file_comes_with_its_digest(hub: LocalHub, file: Path) -> None:
    heard: list[int] = []
    assert fetch_exactly(url(hub), file, len(DATA), heard.append) == DIGEST
    assert file.read_bytes() == DATA
    assert heard == sorted(heard)
    assert heard[-1] == len(DATA)
    assert file.stat().st_mode & 0o777 & ~0o666 == 0


def test_what_is_there_is_not_asked_for(hub: LocalHub, file: Path) -> None:
    file.write_bytes(DATA)
    assert fetch_exactly(url(hub), file, len(DATA)) == DIGEST
    assert fetch_exactly(url(hub), file.with_name("empty"), 0) == hashlib.sha256(b"").hexdigest()
    assert not hub.requests


@pytest.mark.parametrize("present", [1, 1000, len(DATA) - 1])
def test_what_is_missing_is_asked_for(hub: LocalHub, file: Path, present: int) -> None:
    file.write_bytes(DATA[:present])
    assert fetch_exactly(url(hub), file, len(DATA)) == DIGEST
    assert {request.headers["range"] for request in hub.requests} == {f"bytes={present}-"}


def test_a_part_that_is_too_large_is_thrown_away(hub: LocalHub, file: Path) -> None:
    file.write_bytes(DATA + b"!")
    assert fetch_exactly(url(hub), file, len(DATA)) == DIGEST


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, len(DATA) - 1), max_size=4))
def test_cut_again_and_again(cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch, LocalHub() as hub:
        patch.setattr("time.sleep", lambda seconds: None)
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            hub.use(patch, Path(folder))
            hub.add_repository("me/model", {"model.gguf": DATA})
            for cut in cuts:
                hub.fail("GET", "/cdn/", "cut", after_bytes=cut)
            assert fetch_exactly(url(hub), Path(folder, "part"), len(DATA)) == DIGEST


def test_a_connection_that_stays_away(hub: LocalHub, file: Path, waits: list[float]) -> None:
    hub.fail("GET", "/cdn/", "cut", after_bytes=1000)
    hub.fail("GET", "/cdn/", "cut", times=None)
    with pytest.raises(HubError):
        fetch_exactly(url(hub), file, len(DATA))
    assert file.read_bytes() == DATA[:1000]
    assert waits == list(WAITS_S)
    hub.heal()
    assert fetch_exactly(url(hub), file, len(DATA)) == DIGEST


def test_a_busy_server_is_waited_for(hub: LocalHub, file: Path, waits: list[float]) -> None:
    hub.fail("GET", "/resolve/", 503)
    hub.fail("GET", "/resolve/", 429, retry_after=30)
    assert fetch_exactly(url(hub), file, len(DATA)) == DIGEST
    assert waits == [1, 30]


@pytest.mark.parametrize(("status", "after"), [(401, None), (403, None), (404, None), (410, None), (429, 3600)])
def test_a_refusal_is_taken_for_one(
    hub: LocalHub, file: Path, waits: list[float], status: int, after: int | None
) -> None:
    hub.fail("GET", "/resolve/", status, retry_after=after)
    with pytest.raises(HfHubHTTPError) as error:
        fetch_exactly(url(hub), file, len(DATA))
    assert error.value.response.status_code == status
    assert waits == []


def test_the_token_goes_to_the_hub_alone(hub: LocalHub, file: Path) -> None:
    fetch_exactly(url(hub), file, len(DATA))
    assert [(request.origin, request.token) for request in hub.requests] == [("hub", SECRET), ("cdn", None)]


def test_the_token_does_not_come_back(hub: LocalHub, file: Path) -> None:
    hub.plant("GET", "/resolve/main/model", status=302, headers={"Location": f"{hub.cdn_address}/there"})
    hub.plant("GET", "^/there", status=302, headers={"Location": f"{hub.address}/back"})
    hub.plant("GET", "^/back", b"x")
    fetch_exactly(url(hub), file, 1)
    assert [request.token for request in hub.requests] == [SECRET, None, None]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://",
        "http://[::1",
        "http://a:b/",
        "javascript:x",
        "http://h/\x7f",
    ],
)
def test_redirects_out_of_the_web(hub: LocalHub, file: Path, location: str) -> None:
    hub.plant("GET", "/resolve/", status=302, headers={"Location": location})
    with pytest.raises(TransferError, match="redirects"):
        fetch_exactly(url(hub), file, len(DATA))


def test_redirects_do_not_lose_their_encryption() -> None:
    with pytest.raises(TransferError, match="redirects"):
        redirected("https://huggingface.co/a", "http://huggingface.co/a")
    assert redirected("https://huggingface.co/a", "/b") == "https://huggingface.co/b"
    with pytest.raises(TransferError, match="redirects"):
        redirected("https://huggingface.co/a", "https://x/" + "a" * 10_000)


def test_redirects_in_circles(hub: LocalHub, file: Path) -> None:
    hub.plant("GET", "/resolve/", status=302, headers={"Location": url(hub)})
    with pytest.raises(TransferError, match="more than 5 times"):
        fetch_exactly(url(hub), file, len(DATA))
    assert len(hub.requests) == 6


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 4096


@pytest.mark.parametrize("body", [DATA + b"!", DATA[:-1], b""])
def test_another_length_is_refused_before_a_byte_is_written(hub: LocalHub, file: Path, body: bytes) -> None:
    hub.plant("GET", "/cdn/", body)
    with pytest.raises(TransferError, match="not as large as the 256000 bytes"):
        fetch_exactly(url(hub), file, len(DATA))
    assert file.read_bytes() == b""


def test_an_endless_answer_ends(hub: LocalHub, file: Path) -> None:
    hub.plant("GET", "/cdn/", endless)
    with pytest.raises(TransferError, match="more than the 256000 bytes"):
        fetch_exactly(url(hub), file, len(DATA))
    assert file.stat().st_size <= len(DATA)


def test_a_compressed_answer_is_refused(hub: LocalHub, file: Path) -> None:
    hub.plant("GET", "/cdn/", gzip.compress(DATA), headers={"Content-Encoding": "gzip"})
    with pytest.raises(TransferError, match="compressed"):
        fetch_exactly(url(hub), file, len(DATA))


@pytest.mark.parametrize(
    ("status", "content_range"),
    [
        (206, "bytes 0-255999/256000"), (206, "bytes 100-255999/256001"), (206, "bytes 100-200/256000"), (206, "?"),
        (204, ""), (304, ""),
    ],
)  # fmt: skip
def test_another_part_than_was_asked_for(hub: LocalHub, file: Path, status: int, content_range: str) -> None:
    file.write_bytes(DATA[:100])
    hub.plant("GET", "/cdn/", DATA[100:], status=status, headers={"Content-Range": content_range})
    with pytest.raises(TransferError, match="parts that do not make up"):
        fetch_exactly(url(hub), file, len(DATA))


def test_a_server_without_ranges_sends_it_whole(hub: LocalHub, file: Path) -> None:
    file.write_bytes(b"\0" * 100)
    hub.plant("GET", "/cdn/", DATA)
    assert fetch_exactly(url(hub), file, len(DATA)) == DIGEST


def test_a_link_is_not_followed(hub: LocalHub, file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        fetch_exactly(url(hub), file, len(DATA))
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_a_listing_is_that_of_the_client(hub: LocalHub) -> None:
    from huggingface_hub import HfApi

    hub.page_size = 1
    listing = list_repository("me/model", "main")
    expected = [
        (entry.path, entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
        for entry in HfApi(endpoint=hub.address, token=SECRET).list_repo_tree("me/model", recursive=True)
    ]
    assert [(path, one.size, one.blob, one.sha256) for path, one in listing.files.items()] == expected
    assert listing.commit == hub.repository("me/model").refs["refs/heads/main"]
    assert listing.files["model.gguf"].sha256 == DIGEST


def test_a_listed_file_is_known_again(hub: LocalHub, tmp_path: Path) -> None:
    listing = list_repository("me/model")
    for name, data in {"model.gguf": DATA, "config.json": b"{}\n" * 1000}.items():
        (tmp_path / name).write_bytes(data)
        assert listing.files[name].is_same(tmp_path / name)
        (tmp_path / name).write_bytes(data[:-1] + b"?")
        assert not listing.files[name].is_same(tmp_path / name)
        assert not listing.files[name].is_same(tmp_path / "none")


def test_other_hubs_tell_less_and_otherwise(hub: LocalHub, tmp_path: Path) -> None:
    pointer = hub.repository("me/model").resolve("main").files["model.gguf"].blob  # type: ignore[union-attr]
    entries = [
        {"type": "file", "path": "a", "size": 130, "oid": "x", "lfs": {"oid": f"sha256:{DIGEST}", "size": len(DATA)}},
        {"type": "file", "path": "b", "size": len(DATA), "oid": pointer},
        {"type": "file", "path": "c", "size": 1},
    ]
    hub.plant("GET", "/tree/", json.dumps(entries).encode())
    files = list_repository("me/model").files
    (tmp_path / "file").write_bytes(DATA)
    assert (files["a"].size, files["a"].sha256) == (len(DATA), DIGEST)
    assert [files[name].is_same(tmp_path / "file") for name in "abc"] == [True, True, False]


COMMIT = "0" * 40
INFO = b'{"sha": "%s"}' % COMMIT.encode()
ENTRY = {"type": "file", "path": "a", "size": 1, "oid": "0"}


def nested() -> Iterator[bytes]:
    yield b"[" * 1_000_000


@pytest.mark.parametrize(
    ("info", "tree"),
    [
        (b"<html>", b"[]"), (b"[]", b"[]"), (b'{"sha": "../../x"}', b"[]"), (b'{"sha": 1}', b"[]"), (endless, b"[]"),
        (INFO, b"{"), (INFO, b"1"), (INFO, b"[1]"), (INFO, b'[{"type": "file"}]'), (INFO, endless), (INFO, nested),
        (INFO, b'[{"type": "file", "path": 1, "size": 1, "oid": "0"}]'),
        (INFO, b'[{"type": "file", "path": "a", "size": -1, "oid": "0"}]'),
        (INFO, b'[{"type": "file", "path": "a", "size": true, "oid": "0"}]'),
        (INFO, b'[{"type": "file", "path": "a", "size": 1, "oid": "0", "lfs": {"oid": "x"}}]'),
        (INFO, b'[{"type": "file", "path": "a", "size": 1, "oid": "0", "lfs": 1}]'),
        (INFO, b'[{"type": "file", "path": ["a"], "size": 1, "oid": "0"}]'),
    ],
)  # fmt: skip
def test_listings_that_are_none(hub: LocalHub, info: Any, tree: Any) -> None:
    hub.plant("GET", "/revision/", info)
    hub.plant("GET", "/tree/", tree)
    with pytest.raises(TransferError):
        list_repository("me/model")


@pytest.mark.parametrize("path", ["{hub}/api/models/me/model/tree/x", "{cdn}/api/models/me/model/tree/x", "file:///x"])
def test_listings_that_do_not_end_or_go_elsewhere(hub: LocalHub, path: str) -> None:
    following = path.format(hub=hub.address, cdn=hub.cdn_address)
    hub.plant("GET", "/revision/", INFO)
    hub.plant("GET", "/tree/", b"[]", headers={"Link": f'<{following}>; rel="next"'})
    with pytest.raises(TransferError):
        list_repository("me/model")
    assert not hub.asked(origin="cdn")


def test_listings_that_are_too_long(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.hub_listing.MOST_FILES", 1)
    with pytest.raises(TransferError, match="more than 1 files"):
        list_repository("me/model")


def test_the_first_question_is_asked_again_of_a_busy_hub_only(
    hub: LocalHub, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail("GET", "/revision/", 503, times=2)
    assert list_repository("me/model").files
    assert waits == [1, 2]
    waits.clear()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(HubError):
        list_repository("me/model")
    assert waits == []


def test_error_bodies_are_not_read(hub: LocalHub, file: Path) -> None:
    body: Callable[[], Iterator[bytes]] = endless
    hub.plant("GET", "/resolve/", body, status=403)
    with pytest.raises(HfHubHTTPError):
        fetch_exactly(url(hub), file, len(DATA))
