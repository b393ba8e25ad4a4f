"""One file from the Hub into one file on disk: exactly as many bytes as promised, going on where it was cut off.

A shard of 10 GB over a home line breaks off now and then. What has come stays in the file, and the rest is asked for
(HTTP ``Range``, RFC 9110, section 14), in the same run or the next one. The digest is taken on the way, so nothing
is read twice but what an earlier run left. A server that sends more than was promised, or another part than was asked
for, is refused before a byte too many reaches the disk.

    digest = fetch_exactly(hf_hub_url("me/nano", "model.safetensors", revision=commit), folder / "part", 3_932_160)
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from workbench.errors import TransferError
from workbench.hub_requests import answer_of, pause_before

WORTH_A_TRY_BYTES = 64 << 10  # a try that brought so much counts as none
_BLOCK_BYTES = 1 << 20


def fetch_exactly(url: str, file: Path, size: int, heard: Callable[[int], None] = lambda position: None) -> str:
    """Fetch a file.

    Args:
        url: of the Hub.
        file: to write; what lies there is the beginning that came before.
        size: bytes that were promised.
        heard: told how many bytes are there, again and again.

    Returns:
        Hex sha256 of the whole.

    Raises:
        TransferError: the server sends something else than was promised; the file is to be thrown away.
        huggingface_hub.errors.HTTPError, OSError: the Hub or the disk refuses; what came so far is kept.
    """
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    attempt = 0
    with _Growing(file, size) as target:
        heard(target.position)
        while target.position < size:
            before = target.position
            try:
                _take(url, target, heard)
                if target.position < size:
                    raise HubError("the answer ended early")
            except HubError as error:
                attempt = 0 if target.position - before >= WORTH_A_TRY_BYTES else attempt
                pause = pause_before(attempt, error)
                if pause is None:
                    raise
                attempt += 1
                time.sleep(pause)
        return target.sha256.hexdigest()


def _take(url: str, target: _Growing, heard: Callable[[int], None]) -> None:
    """One answer's bytes."""
    with answer_of(url, first=target.position) as response:
        if response.status_code == 200:
            target.restart()  # whole, whatever part was asked for
        elif response.status_code != 206 or not target.continues(response.headers.get("content-range", "")):
            raise TransferError("the server sends parts that do not make up the file; run again to fetch it whole")
        length = response.headers.get("content-length")
        if length is not None and length != str(target.size - target.position):
            raise TransferError(
                f"what the server sends is not as large as the {target.size} bytes that were promised; tell its owner"
            )
        for piece in response.iter_raw():
            target.write(piece)
            heard(target.position)


class _Growing:
    """A file that grows to a size and not beyond, and the digest of what is there."""

    def __init__(self, file: Path, size: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._handle = os.fdopen(os.open(file, flags, 0o666), "r+b")
        self.size, self.position, self.sha256 = size, 0, hashlib.sha256()
        if os.fstat(self._handle.fileno()).st_size > size:
            self.restart()
        while block := self._handle.read(_BLOCK_BYTES):
            self.sha256.update(block)
            self.position += len(block)

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._handle.close()

    def restart(self) -> None:
        """Begin anew."""
        self._handle.seek(0)
        self._handle.truncate()
        self.position, self.sha256 = 0, hashlib.sha256()

    def continues(self, content_range: str) -> bool:
        """Whether a part begins where this ends, of a file of this size."""
        return content_range in {f"bytes {self.position}-{self.size - 1}/{total}" for total in (self.size, "*")}

    def write(self, piece: Any) -> None:
        """Add bytes.

        Raises:
            TransferError: there are more than were promised.
        """
        if self.position + len(piece) > self.size:
            raise TransferError(f"the server sends more than the {self.size} bytes that were promised; tell its owner")
        self._handle.write(piece)
        self.sha256.update(piece)
        self.position += len(piece)
