"""Files larger than memory, read and written past the system's page cache.

The cache could not serve such a file a second time, but filling it pushes out what others have there and costs a copy
and a page of fresh memory for every 4 KiB: on a virtual machine more processor time than hashing the same bytes
twice. ``O_DIRECT`` (open(2), Linux) moves whole blocks between the disk and aligned memory instead. Where a file
system does not offer it, the same calls go through the cache.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 4096  # no disk or file system in use asks for a coarser grid
BUFFER_BYTES = 8 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)


def open_direct(path: Path, flags: int) -> int:
    """A descriptor of a file past the page cache, or through it where there is no other way."""
    if _DIRECT:
        with contextlib.suppress(OSError):  # what else is wrong with the file, the second call tells
            return os.open(path, flags | _DIRECT, 0o666)
    return os.open(path, flags, 0o666)


def aligned_buffer(count: int) -> NDArray[np.uint8]:
    """Memory that begins at a block."""
    import numpy as np

    buffer = np.empty(count + BLOCK, np.uint8)
    first = -buffer.ctypes.data % BLOCK
    return buffer[first : first + count]


def read_direct(path: Path, start: int, count: int) -> NDArray[np.uint8]:
    """Bytes of a file, any place and number; fewer where it ends before."""
    lead = start % BLOCK
    buffer = aligned_buffer(-(-(lead + count) // BLOCK) * BLOCK)
    descriptor, done = open_direct(path, os.O_RDONLY), 0
    try:
        while done < lead + count:
            read = os.preadv(descriptor, [buffer[done:].data], start - lead + done)
            done += read
            if not read or read % BLOCK:  # the end of the file
                break
    finally:
        os.close(descriptor)
    return buffer[lead : min(done, lead + count)]


class SequentialFile:
    """A file written from front to back.

    Args:
        path: made when it is not there.
        start: go on here; what follows is cut off.
        direct: past the page cache.
    """

    def __init__(self, path: Path, start: int = 0, direct: bool = False) -> None:
        self._direct = direct
        flags = os.O_RDWR | os.O_CREAT
        if not direct:
            self._descriptor = os.open(path, flags, 0o666)
            os.ftruncate(self._descriptor, start)
            self._end = os.lseek(self._descriptor, start, os.SEEK_SET)
            return
        self._buffer = aligned_buffer(BUFFER_BYTES)
        self._filled = start % BLOCK
        self._end = start
        if self._filled:
            self._buffer[: self._filled] = read_direct(path, start - self._filled, self._filled)
        self._descriptor = open_direct(path, flags)
        os.ftruncate(self._descriptor, start)

    def tell(self) -> int:
        """Bytes handed over so far, from the file's beginning."""
        return self._end

    def write(self, data: memoryview) -> None:
        """Append bytes; they are in the file after the next ``flush``."""
        done = 0
        while done < len(data):
            if self._direct:
                count = min(len(data) - done, BUFFER_BYTES - self._filled)
                self._buffer[self._filled : self._filled + count] = data[done : done + count]
                self._filled += count
            else:
                count = os.write(self._descriptor, data[done:])
            done += count
            self._end += count
            if self._direct and self._filled == BUFFER_BYTES:
                self.flush()

    def flush(self) -> None:
        """Put what was handed over into the file; behind it there may be zeros up to the end of a block."""
        if not self._direct or not self._filled:
            return
        begin, padded = self._end - self._filled, -(-self._filled // BLOCK) * BLOCK
        self._buffer[self._filled : padded] = 0
        done = 0
        while done < padded:
            done += os.pwrite(self._descriptor, self._buffer[done:padded].data, begin + done)
        whole = self._filled // BLOCK * BLOCK
        self._filled -= whole
        self._buffer[: self._filled] = self._buffer[whole : whole + self._filled]

    def close(self, finished: bool = True) -> None:
        """Close; a finished file has its exact size and is on the disk."""
        try:
            if finished:
                self.flush()
                os.ftruncate(self._descriptor, self._end)
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
