"""Parts of finished weight files beside the same parts made again, piece by piece.

Where a part lies follows from the draft of the conversion, so a file is read in the few places that were drawn, and a
piece of some megabytes at a time is in memory. Heads (a safetensors header, GGUF's metadata) and sizes are always
compared, so nothing can hide before, between or behind the parts.

Example::

    comparison = Comparison(draft, folder)
    comparison.heads()
    comparison.parts({"model.safetensors/w"}, threads=2)
    comparison.faults
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.formats._draft import Apart, Draft
from workbench.formats._output import OutputFile, Part, keep_heaps_small, made_in_order

if TYPE_CHECKING:
    from workbench.formats._output import Values

READ_BYTES = 1 << 20


class Comparison:
    """What a folder holds beside what a draft makes.

    Args:
        draft: of the conversion.
        folder: with the finished files.

    Attributes:
        faults: a line for each difference found.
        apart: how solved parts differ, by their names; their lines are not among the faults.
        nbytes: compared so far.
    """

    def __init__(self, draft: Draft, folder: Path) -> None:
        self._draft = draft
        self._folder = folder
        self._places = {
            unit_name(file, part): (file, part, offset) for file in draft.files for part, offset in _offsets(file)
        }
        self.faults: list[str] = []
        self.apart: dict[str, Apart] = {}
        self.nbytes = 0

    @property
    def units(self) -> list[str]:
        """Names of what may be drawn: all parts but those that everything else depends on."""
        return [name for name, (_, part, _) in self._places.items() if part.name not in self._draft.shared]

    @property
    def shared(self) -> list[str]:
        """Names of the others."""
        return [name for name, (_, part, _) in self._places.items() if part.name in self._draft.shared]

    def sources(self, names: Collection[str]) -> set[str]:
        """Tensors of the source that are read to make these units."""
        return {source for name in names for source in self._places[name][1].sources}

    def heads(self) -> None:
        """Compare sizes and heads."""
        for file in self._draft.files:
            path = self._folder / file.name
            if not path.is_file():
                self.faults.append(f"{file.name} is missing")
            elif path.stat().st_size != file.nbytes:
                self.faults.append(f"{file.name} has {path.stat().st_size} bytes and should have {file.nbytes}")
            elif self._first_difference(file.name, 0, [memoryview(file.head)]) is not None:
                self.faults.append(f"the head of {file.name} is not what the source and the recipe give")

    def parts(self, names: Collection[str], threads: int, tell: Callable[[int, int], None]) -> None:
        """Make parts again and compare them; those that are to be solved first.

        Args:
            names: of units.
            threads: to make pieces with.
            tell: hears how many of how many are compared.
        """
        keep_heaps_small()
        chosen = {name: self._places[name] for name in names}
        solved = {part.name: name for name, (_, part, _) in chosen.items() if part.pieces is None}
        done = 0

        def put(part: str, pieces: Iterable[Values]) -> None:
            nonlocal done
            self._compare_solved(solved[part], pieces)
            done += 1
            tell(done, len(chosen))

        if solved and self._draft.solve:
            self._draft.solve(list(solved), self._folder, put)
        made = {id(part): name for name, (_, part, _) in chosen.items() if part.pieces}
        ready = [part for _, part, _ in chosen.values() if part.pieces]
        for part, pieces in _by_part(made_in_order(ready, threads)):
            self._compare_made(made[id(part)], pieces)
            done += 1
            tell(done, len(chosen))

    def _compare_made(self, name: str, pieces: Iterable[Values]) -> None:
        file, part, offset = self._places[name]
        found = self._first_difference(file.name, offset, (values.reshape(-1).view("uint8").data for values in pieces))
        if found is not None:
            self.faults.append(f"{part.name} in {file.name} is not what the source and the recipe give (byte {found})")

    def _compare_solved(self, name: str, pieces: Iterable[Values]) -> None:
        """The same for a part whose numbers may differ for an honest reason: then it is told by how much."""
        file, part, offset = self._places[name]
        made = b"".join(values.tobytes() for values in pieces)
        with (self._folder / file.name).open("rb") as handle:
            handle.seek(offset)
            stored = handle.read(part.nbytes)
        self.nbytes += len(made)
        if made == stored:
            return
        assert self._draft.distance is not None  # who solves parts tells how far they are apart
        self.apart[part.name] = self._draft.distance(part.name, made, stored)

    def _first_difference(self, name: str, offset: int, pieces: Iterable[memoryview]) -> int | None:
        """Place in a file of the first byte that is another; all pieces are made, for some depend on those before."""
        found: int | None = None
        with (self._folder / name).open("rb") as handle:
            handle.seek(offset)
            for piece in pieces:
                for first in range(0, len(piece), READ_BYTES):
                    wanted = piece[first : first + READ_BYTES]
                    stored = handle.read(len(wanted))
                    if found is None and stored != wanted:
                        found = offset + first + _place(stored, bytes(wanted))
                offset += len(piece)
                self.nbytes += len(piece)
        return found


def unit_name(file: OutputFile, part: Part) -> str:
    """What a part is drawn by."""
    return f"{file.name}/{part.name}"


def _offsets(file: OutputFile) -> Iterator[tuple[Part, int]]:
    offset = len(file.head)
    for part in file.parts:
        yield part, offset
        offset += part.nbytes


def _place(stored: bytes, wanted: bytes) -> int:
    """Of the first difference."""
    both = zip(stored, wanted, strict=False)
    return next((place for place, (one, other) in enumerate(both) if one != other), min(len(stored), len(wanted)))


def _by_part(made: Iterator[tuple[Part, Values | None]]) -> Iterator[tuple[Part, Iterator[Values]]]:
    """Each part with its pieces, to be used up before the next part is asked for."""
    for part, values in made:
        yield part, _pieces(values, made)


def _pieces(first: Values | None, rest: Iterator[tuple[Part, Values | None]]) -> Iterator[Values]:
    values = first
    while values is not None:
        yield values
        _, values = next(rest)
