"""What a repository of the Hub holds at one commit: names, sizes and digests of its files, none of them trusted.

A revision that people name (a branch, a tag) may move between two questions; the commit it stands for does not. So it
is resolved once, and everything else is asked of that commit. Large files are listed with their sha256, small ones with
the SHA-1 that Git gives their contents.

    listing = list_repository("me/nano", "main")
    listing.commit                              # "5ec1938..."
    listing.files["model.safetensors"].size     # 3932160
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.errors import ArtifactError, TransferError
from workbench.hub_requests import patiently, read_bounded_answer
from workbench.untrusted_json import parse_json

MOST_FILES = 20_000
MOST_PAGES = 200  # the Hub's hold 1000 entries each
_MOST_ANSWER_BYTES = 32 << 20
_COMMIT = re.compile(r"[0-9a-f]{7,64}")  # the Hub's have 40; others hold their history in other systems than Git
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub lists it.

    Attributes:
        size: bytes.
        blob: Git's id of its contents, or of the pointer to them.
        sha256: of a large file's contents, else ``None``.
    """

    size: int
    blob: str
    sha256: str | None = None

    def is_same(self, file: Path) -> bool:
        """Whether a file on disk has these contents, as far as the list tells."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        data = file.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if self.sha256:
            return sha256 == self.sha256
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        return self.blob in (_git_id(data), _git_id(pointer))  # not every Hub tells of a large file that it is one


def _git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Listing:
    """A repository at one commit: files by path."""

    name: str
    commit: str
    files: dict[str, RemoteFile]


def list_repository(name: str, revision: str | None = None) -> Listing:
    """List a repository's files.

    Args:
        name: ``owner/name``.
        revision: branch, tag, ``refs/pr/N`` or commit; ``None`` means ``main``.

    Raises:
        TransferError: the answer is no listing, or one beyond all bounds.
        huggingface_hub.errors.HTTPError, OSError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import constants

    place = f"{constants.ENDPOINT}/api/models/{name}"
    found, _ = _json(f"{place}/revision/{quote(revision or 'main', safe='')}")
    commit = found.get("sha") if isinstance(found, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise TransferError(f"the answer about {name} names no commit; is HF_ENDPOINT the address of a Hub?")
    files: dict[str, RemoteFile] = {}
    page: str | None = f"{place}/tree/{commit}?recursive=true"
    for _ in range(MOST_PAGES):
        if page is None or len(files) > MOST_FILES:
            break
        entries, page = _page(page)
        files |= _files(entries, name)
    if page is not None or len(files) > MOST_FILES:
        raise TransferError(f"{name} lists more than {MOST_FILES} files; it is no package")
    return Listing(name, commit, files)


def _json(url: str) -> tuple[Any, str | None]:
    data, following = patiently(lambda: read_bounded_answer(url, _MOST_ANSWER_BYTES))
    try:
        return parse_json(data, "the Hub's answer"), following
    except ArtifactError as error:
        raise TransferError("the Hub's answer is no JSON; is HF_ENDPOINT the address of a Hub?") from error


def _page(url: str) -> tuple[Any, str | None]:
    """One page of a list; an empty one where the Hub has no word for an empty folder."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _json(url)
    except HfHubHTTPError as error:
        if error.response.status_code != 404 or error.response.headers.get("x-error-code") != "EntryNotFound":
            raise
        return [], None


def _files(entries: Any, name: str) -> dict[str, RemoteFile]:
    """The files of one page."""
    try:
        return {entry["path"]: _file(entry) for entry in entries if entry["type"] == "file"}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise TransferError(f"the list of {name}'s files cannot be understood; tell its owner") from error


def _file(entry: dict[str, Any]) -> RemoteFile:
    large = entry.get("lfs")
    size = large.get("size", entry["size"]) if large else entry["size"]  # not that of the pointer
    sha256 = large["oid"].removeprefix("sha256:") if large else None
    if not isinstance(entry["path"], str) or type(size) is not int or size < 0:
        raise ValueError("a size is no number of bytes")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise ValueError("a digest is no sha256")
    return RemoteFile(size, str(entry.get("oid", "")), sha256)
