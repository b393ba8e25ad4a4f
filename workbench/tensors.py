"""Tensors inside weight files: where each lies, read in chunks of rows, with a digest of what was read.

safetensors begins with 8 bytes of little-endian header length and a JSON header with dtype, shape and place of each
tensor (github.com/huggingface/safetensors); behind it lie the raw values, rows first. The places must cover what is
behind the header, without holes and without sharing. So any rows can be had with
one read, and a matrix of 600 MB passes through a buffer of 8. The digest of a tensor is the sha256 of its
chunks' sha256s: whoever reads the chunks, in any order and in any thread, has the digest without a second pass.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.direct_io import read_direct
from workbench.errors import ArtifactError, CheckpointError
from workbench.untrusted_json import parse_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "U32": 4,
    "BOOL": 1,
}
# torch's names of the types, by safetensors' names.
TORCH_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "U32": "uint32", "BOOL": "bool",
}  # fmt: skip
# Types that safetensors knows and nothing here computes with, in bits (its enum Dtype).
OTHER_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "U64": 64, "C64": 64,
}  # fmt: skip
# The reference implementation takes 100 MB. Parsed, a hostile header takes 20 times its bytes, and that of 100,000
# tensors is 12 MB.
MAX_HEADER_BYTES = 32 << 20
CHUNK_BYTES = 8 << 20
ROW_MULTIPLE = 128  # rows of a chunk come in whole attention heads where there are that many


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        name: key in the checkpoint.
        dtype: safetensors' name, e.g. ``F16``.
        shape: dimensions; a linear layer is (out, in).
        file: the shard.
        offset: of its first byte in the file; ``None`` where only the header is known (a Hub id that is planned).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int | None = None

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return self.numel * DTYPE_BYTES[self.dtype]

    @property
    def rows(self) -> int:
        """Length of the first dimension; a vector is one row."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def chunks(self) -> list[slice]:
        """Rows of each chunk, in order: about ``CHUNK_BYTES`` each, the same on every machine."""
        if not self.numel:
            return []
        step = max(1, CHUNK_BYTES * self.rows // self.nbytes)
        if step > ROW_MULTIPLE:
            step -= step % ROW_MULTIPLE
        return [slice(first, min(first + step, self.rows)) for first in range(0, self.rows, step)]


def read_rows(info: TensorInfo, rows: slice, direct: bool = False) -> torch.Tensor:
    """Rows of a tensor (of a vector: all of it), read from its file now.

    Args:
        info: where the tensor lies.
        rows: which of its rows.
        direct: past the system's page cache; see ``workbench/direct_io.py``.

    Raises:
        CheckpointError: the file is gone or shorter than it was.
    """
    import torch

    count = rows.stop - rows.start
    row_bytes = info.nbytes // max(info.rows, 1)
    start = (info.offset or 0) + rows.start * row_bytes
    try:
        buffer = (read_direct if direct else _read_cached)(info.file, start, count * row_bytes)
    except OSError as error:
        raise CheckpointError(f"{info.file} cannot be read ({error}); fetch the checkpoint again") from error
    if len(buffer) < count * row_bytes:
        raise CheckpointError(f"{info.file} ends inside tensor {info.name}; fetch the checkpoint again")
    flat = torch.from_numpy(buffer).view(getattr(torch, TORCH_TYPES[info.dtype]))
    return flat.reshape(count, *info.shape[1:]) if len(info.shape) > 1 else flat.reshape(info.shape)


def _read_cached(path: Path, start: int, count: int) -> NDArray[np.uint8]:
    """Bytes of a file, as the page cache has them; fewer where it ends before."""
    import numpy as np

    buffer = np.empty(count, np.uint8)
    view, done = buffer.data, 0
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while done < count and (read := file.readinto(view[done:])):
            done += read
    return buffer[:done]


class Digests:
    """Digests of the tensors read so far, gathered chunk by chunk; safe to use from several threads."""

    def __init__(self) -> None:
        self._whole: dict[str, str] = {}
        self._chunks: dict[str, dict[int, bytes]] = {}

    def note(self, info: TensorInfo, chunk: int, values: torch.Tensor) -> None:
        """Remember the digest of a chunk that was just read."""
        import torch

        if info.name in self._whole:
            return
        raw = values.reshape(-1).view(torch.uint8).numpy().data
        self._chunks.setdefault(info.name, {})[chunk] = hashlib.sha256(raw).digest()

    def add(self, name: str, digest: str) -> None:
        """Take a tensor's digest from an earlier run."""
        self._whole[name] = digest

    def get(self, info: TensorInfo) -> str | None:
        """Hex digest of a tensor, if every chunk of it was read."""
        if info.name not in self._whole:
            parts, count = self._chunks.get(info.name, {}), len(info.chunks)
            if len(parts) != count:
                return None
            self._whole[info.name] = hashlib.sha256(b"".join(parts[place] for place in range(count))).hexdigest()
            self._chunks.pop(info.name, None)
        return self._whole[info.name]


def read_header(file: Path) -> list[TensorInfo]:
    """Tensors of one safetensors file, from its header alone.

    Raises:
        CheckpointError: no such format, or the file is shorter than its header promises.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        prefix = handle.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise CheckpointError(f"{file} is cut short or no safetensors file; fetch it again")
        try:
            tensors, end = _parse_header(parse_json(handle.read(length), file.name), file, 8 + length)
        except (ArtifactError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{file} has a broken header ({error}); fetch it again") from error
    if size != 8 + length + end:
        raise CheckpointError(f"{file} holds {size} bytes but its header promises {8 + length + end}; fetch it again")
    return tensors


def _parse_header(header: dict[str, Any], file: Path, base: int) -> tuple[list[TensorInfo], int]:
    """Tensors of a header, in the order of the file, and where the last one ends; each must have the bytes it needs."""
    places, tensors = [], []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        (first, last), shape = entry["data_offsets"], entry["shape"]
        if not all(type(number) is int and number >= 0 for number in (first, last, *shape)):
            raise ValueError(f"{name} has a size that is no whole number")
        info = TensorInfo(name, entry["dtype"], tuple(shape), file, base + first)
        bits = 8 * DTYPE_BYTES.get(info.dtype, 0) or OTHER_BITS.get(info.dtype, 0)  # 0: a dtype nobody here knows
        if last < first or (bits and info.numel * bits != 8 * (last - first)):
            raise ValueError(f"{name} has {last - first} bytes")
        places.append((first, last))
        tensors.append(info)
    return sorted(tensors, key=lambda info: info.offset or 0), _covered(places)


def _covered(places: list[tuple[int, int]]) -> int:
    """Where the last of the tensors ends; between them is no hole, and no byte is two tensors' (safetensors' rule)."""
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise ValueError(f"a tensor begins at {first} where the one before ends at {end}")
        end = last
    return end


def unique_elements(tensors: Sequence[TensorInfo]) -> int:
    """Elements of all tensors; those that share their place in a file (tied weights) once."""
    return sum(
        {(info.file, info.offset if info.offset is not None else info.name): info.numel for info in tensors}.values()
    )
