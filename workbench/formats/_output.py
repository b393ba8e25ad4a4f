"""Weight files written from front to back, in pieces made by several threads, and resumed after a kill.

A format says which files there will be: the bytes at the head of each, and its parts in the order of the file. A part
is the unit that is finished or not (a tensor, a layer); its pieces (rows) are made side by side in threads and written
in order, so the bytes do not depend on the number of threads and memory holds a few pieces, whatever the
model's size. The sha256 of a file grows as it is written: no file is read again to be sealed.

After each part the journal notes the file's length and digest so far. A run that finds such notes hashes what is there,
cuts what follows the last finished part, and goes on; what does not match the notes is made again.

Example::

    part = Part("w", 8, lambda: [lambda: np.zeros(8, np.uint8)])
    with Output([OutputFile("w.bin", b"head", (part,))], folder, checkpoint, context) as output:
        output.write_all()
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain, takewhile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from workbench.checkpoint import Checkpoint
from workbench.direct_io import SequentialFile
from workbench.formats.base import ConversionContext
from workbench.workers import Workers

if TYPE_CHECKING:
    from numpy import generic
    from numpy.typing import NDArray

    Values = NDArray[generic]
    Piece = Callable[[], Values]

READ_BACK_BYTES = 1 << 22
LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3  # malloc.h


@dataclass(frozen=True)
class Part:
    """What is finished or not.

    Attributes:
        name: of the tensor or layer.
        nbytes: in the file.
        pieces: makers of its bytes, in order, each to be called once, in any thread; ``None`` for a part that is
            handed over with ``Output.put``.
        tail: makes its last bytes, called after all pieces were made.
        sources: tensors of the checkpoint that are read for it.
    """

    name: str
    nbytes: int
    pieces: Callable[[], Iterable[Piece]] | None = None
    tail: Piece | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutputFile:
    """A file to be: its name, the bytes before the first part, its parts in order."""

    name: str
    head: bytes
    parts: tuple[Part, ...]

    @property
    def nbytes(self) -> int:
        """Size of the finished file."""
        return len(self.head) + sum(part.nbytes for part in self.parts)


@dataclass(frozen=True)
class _Place:
    """A part in its file: whether it is the first and last there, and where it ends."""

    file: OutputFile
    part: Part
    first: bool
    last: bool
    end: int


class Output:
    """The files of one conversion; use as a context manager.

    Args:
        files: what will be written, in order.
        folder: where to.
        checkpoint: the source; digests of its tensors are kept in the journal.
        context: journal, threads and progress; gets the files' digests.
    """

    def __init__(
        self, files: Sequence[OutputFile], folder: Path, checkpoint: Checkpoint, context: ConversionContext
    ) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._context = context
        self._places = [place for file in files for place in _places(file)]
        self._total = sum(place.part.nbytes for place in self._places)
        self._written = 0
        self._next = 0
        self._handle: SequentialFile | None = None
        self._hash = hashlib.sha256()
        self._resume()

    def finished(self, name: str) -> bool:
        """Whether a part was finished by an earlier run."""
        return any(place.part.name == name for place in self._places[: self._next])

    def write_all(self) -> None:
        """Make and write every part that is left, up to the first that must be handed over."""
        ready = takewhile(lambda part: part.pieces, (place.part for place in self._places[self._next :]))
        for _, values in made_in_order(ready, self._context.threads):
            self._append(self._places[self._next], values)

    def put(self, name: str, pieces: Iterable[Values]) -> None:
        """Write the next part, whose bytes were made elsewhere; one that is finished already is passed over."""
        if self.finished(name):
            return
        place = self._places[self._next]
        if place.part.name != name:
            raise ValueError(f"{name} came, next is {place.part.name}")
        for values in pieces:
            self._append(place, values)
        self._append(place, None)

    def _append(self, place: _Place, values: Values | None) -> None:
        """Write some bytes of a part; ``None`` ends it."""
        if self._handle is None:
            self._handle = self._open(place.file.name, 0)
            self._write(memoryview(place.file.head))
        if values is None:
            self._finish(place)
        elif values.size:
            self._write(values.reshape(-1).view("uint8").data)
            self._written += values.nbytes
            self._context.progress(self._written, self._total, "bytes")

    def _write(self, data: memoryview) -> None:
        """Hash and write side by side: each takes about as long as the other."""
        assert self._handle is not None  # _append has opened it
        hashed = self._hasher.submit(self._hash.update, data)
        self._handle.write(data)
        hashed.result()

    def _finish(self, place: _Place) -> None:
        assert self._handle is not None  # even an empty part has opened its file
        if self._handle.tell() != place.end:
            raise ValueError(f"{place.part.name} ends at {self._handle.tell()}, promised was {place.end}")
        self._handle.flush()
        digest = self._hash.hexdigest()
        infos = [self._checkpoint.tensors[name] for name in place.part.sources]
        known = {info.name: self._checkpoint.digests.get(info) for info in infos}
        self._context.journal.add(
            {
                "file": place.file.name,
                "part": place.part.name,
                "end": place.end,
                "sha256": digest,
                "sources": {name: value for name, value in known.items() if value},
            }
        )
        self._next += 1
        if place.last:
            self._close()
            self._context.digests[place.file.name] = digest

    def _open(self, name: str, start: int) -> SequentialFile:
        return SequentialFile(self._folder / name, start, direct=self._checkpoint.exceeds_memory)

    def _close(self, finished: bool = True) -> None:
        if self._handle is not None:
            self._handle.close(finished)
        self._handle, self._hash = None, hashlib.sha256()

    def _resume(self) -> None:
        """Take over what an earlier run finished, as far as the files bear out its journal."""
        entries = self._context.journal.entries
        matching = 0
        for entry, place in zip(entries, self._places, strict=False):
            if (entry["file"], entry["part"], entry["end"]) != (place.file.name, place.part.name, place.end):
                break
            matching += 1
        while self._next < matching:
            count = sum(place.file is self._places[self._next].file for place in self._places[self._next : matching])
            if not self._take_over(self._next + count - 1, entries[self._next + count - 1]["sha256"]):
                break
            self._next += count
        self._context.journal.keep(self._next)
        for entry in entries[: self._next]:
            for name, digest in entry["sources"].items():
                self._checkpoint.digests.add(name, digest)
        self._written = sum(place.part.nbytes for place in self._places[: self._next])

    def _take_over(self, index: int, expected: str) -> bool:
        """Check a file up to the end of one part and go on behind it."""
        place = self._places[index]
        path = self._folder / place.file.name
        if not path.is_file() or path.stat().st_size < place.end:
            return False
        state, left = hashlib.sha256(), place.end
        with path.open("rb", buffering=0) as handle:
            while left:
                data = handle.read(min(left, READ_BACK_BYTES))
                state.update(data)
                left -= len(data)
        if state.hexdigest() != expected:
            return False
        self._handle, self._hash = self._open(place.file.name, place.end), state
        if place.last:
            self._close()
            self._context.digests[place.file.name] = expected
        return True

    def __enter__(self) -> Self:
        keep_heaps_small()
        self._hasher = ThreadPoolExecutor(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.shutdown()
        self._close(finished=False)
        if kind is None and self._next < len(self._places):
            raise ValueError(f"never written: {', '.join(place.part.name for place in self._places[self._next :][:5])}")


@cache
def keep_heaps_small() -> None:
    """Have the C library map every large piece of memory by itself, so that it goes back to the system when freed.

    glibc takes ever larger pieces from its heaps, where small results that stay leave holes between them: a
    conversion of 31 GB in several threads then holds 10 GB. glibc only (``mallopt``); elsewhere it does nothing.
    """
    import ctypes

    tune = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, LARGE_BYTES)


def _places(file: OutputFile) -> Iterator[_Place]:
    end = len(file.head)
    for index, part in enumerate(file.parts):
        end += part.nbytes
        yield _Place(file, part, index == 0, index == len(file.parts) - 1, end)


def made_in_order(parts: Iterable[Part], threads: int) -> Iterator[tuple[Part, Values | None]]:
    """Every piece of every part in order, made in threads a little ahead of its use; ``None`` ends a part."""
    jobs = ((part, piece) for part in parts for piece in chain((part.pieces or tuple)(), (None,)))
    with Workers(threads) as workers:
        for part, values in workers.map(_make, jobs, ahead=2 * threads + 1):
            if values is None and part.tail:
                yield part, part.tail()
            yield part, values


def _make(job: tuple[Part, Piece | None]) -> tuple[Part, Values | None]:
    part, piece = job
    return part, piece() if piece else None
