"""The header of a GGUF file, read from a file that may come from anybody.

GGUF counts everything before it comes: tensors, key-value pairs, characters, items of an array. A reader that makes
room for what a count promises can be told to make room for 2^60 strings, and llama.cpp's own had to learn that
(CVE-2024-23496 and its neighbours). Here no count is believed beyond the bytes that are left, strings and arrays have
limits of their own, and every tensor must lie where llama.cpp will look for it: one behind the other, each padded to
the file's alignment, the last one ending the file (``gguf_init_from_file_impl``). Layout: ggml's docs/gguf.md; the
writer's side is ``workbench/formats/_gguf_header.py``::

    header = read_gguf(Path("model.gguf"))
    header.pairs["general.architecture"]   # "llama"
    header.tensors[0]                      # GgufTensor("token_embd.weight", (4096, 32000), "Q4_K", 0, ...)
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # they differ in the byte order that may be used alone
MOST_TENSORS = MOST_PAIRS = 1 << 16
MOST_ITEMS = 1 << 22  # of an array: vocabularies and merges have some 300,000
LONGEST_KEY = 1 << 16  # docs/gguf.md
LONGEST_NAME = 63  # GGML_MAX_NAME, with the zero behind it
LONGEST_STRING = 1 << 20  # the longest are chat templates
MOST_HEADER_BYTES = 64 << 20  # vocabularies of 260,000 words take 15 MiB
MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
MOST_ELEMENTS = 1 << 62
_STRING, _ARRAY = 8, 9
# Of gguf_metadata_value_type: number, struct's letter. A bool is a byte of 0 or 1.
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_BOOL = 7


@dataclass(frozen=True)
class GgufTensor:
    """One tensor: name, dimensions innermost first, ggml's type, first byte of its data in the file, bytes."""

    name: str
    dimensions: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the data; of an array of numbers only its length is kept, as ``range``."""

    version: int
    pairs: dict[str, Any]
    tensors: tuple[GgufTensor, ...]
    data_start: int


def read_gguf(path: Path) -> GgufHeader:
    """The header of a GGUF file.

    Raises:
        ArtifactError: it is none, is cut short, or says what no file of its kind says.
    """
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, len(data)).header()
    except (ValueError, struct.error) as error:
        raise ArtifactError(f"{path.name} is no GGUF file that can be trusted ({error}); fetch it again") from error
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read ({error.strerror}); fetch it again") from error


class _Reader:
    """Reads forward through the bytes; every number that says how many are to come is held against what is left."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self._data, self._size, self._at = data, min(size, MOST_HEADER_BYTES), 0
        self._file_size = size

    def header(self) -> GgufHeader:
        if self._data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version, tensors, pairs = self._number("I"), self._number("Q"), self._number("Q")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version}")
        if tensors > MOST_TENSORS or pairs > MOST_PAIRS:
            raise ValueError(f"it promises {tensors} tensors and {pairs} pairs")
        values = self._pairs(pairs)
        infos = [self._info() for _ in range(tensors)]
        start = _aligned(self._at, _alignment(values))
        return GgufHeader(version, values, self._placed(infos, start, _alignment(values)), start)

    def _number(self, letter: str) -> Any:
        if self._at >= self._size:
            raise ValueError(f"its header does not end within {self._size} bytes")
        (value,) = struct.unpack_from(f"<{letter}", self._data, self._at)
        self._at += struct.calcsize(letter)
        return value

    def _text(self, most: int) -> str:
        length = self._number("Q")
        if length > min(most, self._size - self._at):
            raise ValueError(f"a string of {length} bytes begins at {self._at - 8}")
        self._at += length
        return self._data[self._at - length : self._at].decode("utf-8", "surrogateescape")

    def _pairs(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._text(LONGEST_KEY)
            if key in found:
                raise ValueError(f"it names the key {key[:60]!r} twice")
            found[key] = self._value(self._number("I"))
        return found

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text(LONGEST_STRING)
        if kind == _ARRAY:
            return self._array()
        if kind not in _PLAIN:
            raise ValueError(f"a value of the unknown type {kind} ends at {self._at}")
        value = self._number(_PLAIN[kind])
        if kind == _BOOL and value > 1:
            raise ValueError(f"a truth value is {value}")
        return value

    def _array(self) -> Any:
        kind, count = self._number("I"), self._number("Q")
        least = 8 if kind == _STRING else struct.calcsize(_PLAIN.get(kind, "x"))
        if kind != _STRING and kind not in _PLAIN:
            raise ValueError(f"an array of the type {kind} ends at {self._at}")
        if count > min(MOST_ITEMS, (self._size - self._at) // least):
            raise ValueError(f"an array of {count} items begins at {self._at}")
        if kind == _STRING:
            return [self._text(LONGEST_STRING) for _ in range(count)]
        self._at += count * least
        return range(count)

    def _info(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, dimensions, number of the type, offset from the beginning of the data."""
        name, rank = self._text(LONGEST_NAME), self._number("I")
        if rank > MOST_DIMENSIONS:
            raise ValueError(f"tensor {name!r} has {rank} dimensions")
        dimensions = tuple(self._number("Q") for _ in range(rank))
        return name, dimensions, self._number("I"), self._number("Q")

    def _placed(
        self, infos: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int
    ) -> tuple[GgufTensor, ...]:
        """Tensors with their bytes; they must follow one another to the end of the file."""
        if len({name for name, *_ in infos}) != len(infos):
            raise ValueError("two tensors have one name")
        tensors, expected = [], 0
        for name, dimensions, number, offset in infos:
            kind, nbytes = _bytes_of(name, dimensions, number)
            if offset != expected:
                raise ValueError(f"tensor {name!r} begins at {offset}, where {expected} is the next free byte")
            tensors.append(GgufTensor(name, dimensions, kind, start + offset, nbytes))
            expected = _aligned(offset + nbytes, alignment)
        end = max((one.offset + one.nbytes for one in tensors), default=start)
        if not end <= self._file_size <= max(_aligned(end, alignment), start):
            raise ValueError(f"its data end at byte {end}, the file at {self._file_size}")
        return tuple(tensors)


def _alignment(pairs: dict[str, Any]) -> int:
    value = pairs.get("general.alignment", 32)
    if type(value) is not int or not 8 <= value <= 1 << 16 or value & (value - 1):
        raise ValueError(f"its alignment is {str(value)[:60]}")
    return value


def _aligned(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment


def _bytes_of(name: str, dimensions: tuple[int, ...], number: int) -> tuple[str, int]:
    """Type and bytes of a tensor's data: whole blocks along its rows."""
    known = _types().get(number)
    if known is None:
        raise ValueError(f"tensor {name!r} is of the unknown type {number}")
    kind, weights, size = known
    elements, row = math.prod(dimensions), dimensions[0] if dimensions else 1
    if elements > MOST_ELEMENTS or row % weights:
        raise ValueError(f"tensor {name!r} has the dimensions {dimensions}")
    return kind, elements // weights * size


@cache
def _types() -> dict[int, tuple[str, int, int]]:
    """ggml's types by their number: name, weights and bytes of a block."""
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
