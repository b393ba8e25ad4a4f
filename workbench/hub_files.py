"""Files on the Hugging Face Hub: a large one fetched so that a lost connection costs nothing, or read in parts.

The Hub's client keeps what an interrupted download brought for the rest of that run only. A shard of 10 GB over a
home line deserves better: here the bytes stay beside the cache's blobs as ``<etag>.incomplete``, the name the client
itself once used, and the next run asks for the rest (HTTP ``Range``). The finished blob is the client's own: other
tools find it in the cache. Tokens are the client's affair (``hf auth login``, ``HF_TOKEN``) and travel only in its
request headers, which its HTTP library drops when it is sent on to another host.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.errors import CheckpointError
from workbench.hub_requests import patiently
from workbench.hub_transfer import fetch_exactly

BLOCK_BYTES = 128 << 10
PIECE_BYTES = 8 << 20  # of what is brought at once


def download(name: str, file: str, commit: str) -> Path:
    """Bring one file of a repository into the Hub's cache, going on where an earlier run was cut off.

    Args:
        name: ``org/name``.
        file: its name in the repository.
        commit: full hash; a branch could move between two runs.

    Returns:
        Its place in the cache.

    Raises:
        CheckpointError: what was fetched in several parts is not the file the Hub promised.
        OSError, huggingface_hub.errors.HTTPError: the disk or the Hub refuses; what came so far is kept.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(name, file, revision=commit)
    if isinstance(cached, str):
        return Path(cached)
    url = hf_hub_url(name, file, revision=commit)
    found = get_hf_file_metadata(url)
    if found.etag and found.size:
        with _blob(name, found.etag) as blob:
            if not blob.exists():
                _fetch(url, blob, found.size)
    return Path(hf_hub_download(name, file, revision=commit))  # finds the blob and links it into the snapshot


@contextmanager
def _blob(name: str, etag: str) -> Iterator[Path]:
    """Where the cache keeps a file's contents, locked against other downloads of the same."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported, but not declared so

    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=name, repo_type="model")
    lock, blob = cache / ".locks" / folder / f"{etag}.lock", cache / folder / "blobs" / etag
    for parent in (lock.parent, blob.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        yield blob


def _fetch(url: str, blob: Path, size: int) -> None:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # exported, but not declared so

    partial = blob.with_name(f"{blob.name}.incomplete")
    bars: Any = tqdm  # has no types
    with bars(total=size, unit="B", unit_scale=True, desc=url.rpartition("/")[2], disable=None) as bar:
        digest = fetch_exactly(url, partial, size, lambda position: bar.update(position - bar.n))
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and digest != blob.name:  # other etags cannot be checked
        partial.unlink()
        raise CheckpointError(
            f"{url.rpartition('/')[2]} came in parts that do not make up the file; run again to fetch it whole"
        )
    partial.replace(blob)


def open_remote(name: str, file: str, commit: str) -> io.BufferedReader:
    """A file on the Hub as a stream that fetches only the blocks that are read.

    Raises:
        OSError, huggingface_hub.errors.HTTPError: the Hub refuses, also on a later read.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(name, file, revision=commit)
    return io.BufferedReader(_RemoteFile(url, get_hf_file_metadata(url).size or 0))


class PartialCopy:
    """A file on the Hub beside a sparse one here, which has its size and holds what was asked for, in its place.

    So whoever reads local files reads the few tensors of a large file that were brought, and their headers, at the cost
    of those; the rest are holes.

    Args:
        name: ``org/name``.
        file: its name in the repository.
        commit: full hash.
        path: of the file here, to be made.

    Attributes:
        etag: of the file: the sha256 of a large one.

    Raises:
        OSError, huggingface_hub.errors.HTTPError: the Hub refuses, also later.
    """

    def __init__(self, name: str, file: str, commit: str, path: Path) -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(name, file, revision=commit)
        found = get_hf_file_metadata(url)
        self.etag = found.etag
        self._remote = _RemoteFile(url, found.size or 0, path)
        with path.open("wb") as made:
            made.truncate(found.size or 0)

    def stream(self) -> io.BufferedReader:
        """The file on the Hub, read in blocks, which come to stay here."""
        return io.BufferedReader(self._remote)

    def bring(self, start: int, count: int) -> None:
        """Fetch some bytes."""
        for first in range(start, start + count, PIECE_BYTES):
            self._remote.fetch(first, min(first + PIECE_BYTES, start + count))


class _RemoteFile(io.RawIOBase):
    """Reads a URL in blocks by range requests, each block once; what comes is put into ``copy``, too."""

    def __init__(self, url: str, size: int, copy: Path | None = None) -> None:
        self._url, self._size, self._position = url, size, 0
        self._copy = copy
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move there without a request."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Up to the end of the block that the position is in."""
        if self._position >= self._size:
            return 0
        number, first = divmod(self._position, BLOCK_BYTES)
        if number not in self._blocks:
            start = number * BLOCK_BYTES
            self._blocks[number] = self.fetch(start, min(start + BLOCK_BYTES, self._size))
        data = self._blocks[number][first : first + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def fetch(self, start: int, end: int) -> bytes:
        """Some bytes, asked for now."""
        data = patiently(lambda: self._request(start, end))
        if self._copy:
            with self._copy.open("r+b") as copy:
                copy.seek(start)
                copy.write(data)
        return data

    def _request(self, start: int, end: int) -> bytes:
        from huggingface_hub import constants, get_session, hf_raise_for_status
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}"}
        with get_session().stream(
            "GET", self._url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as response:
            hf_raise_for_status(response)
            if response.status_code != 206:  # all of it is on its way
                raise OSError("the server sends whole files only")
            data: bytes = response.read()
        if len(data) != end - start:
            raise OSError("the server sent too little")
        return data
