"""Write safetensors files tensor by tensor, in any order, with bytes that depend on the content alone.

A safetensors file is an 8-byte little-endian header length, a JSON header (name -> dtype, shape, place) and the
raw tensors (github.com/huggingface/safetensors). Its own ``save_file`` wants all tensors in memory and puts
metadata in the order of a hash table, so equal models get unequal files. Names, types and shapes are
known before any weight is read; so here the header is written first, each tensor goes to its place when
it is ready, and the size of the files is known without making them.

Example::

    with Writer([Spec("w", "F16", (2, 2))], folder) as writer:
        writer.write("w", torch.zeros(2, 2, dtype=torch.float16))
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import CheckpointError, WorkbenchError
from workbench.tensors import DTYPE_BYTES

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5_000_000_000  # as transformers' save_pretrained cut for years; loaders accept any size
INDEX_NAME = "model.safetensors.index.json"
FLOAT16_MAX = 65504.0
# Names of torch's types as safetensors spells them.
TORCH_NAMES = {"float16": "F16", "float32": "F32", "bfloat16": "BF16", "int32": "I32", "int8": "I8"}


@dataclass(frozen=True)
class Spec:
    """One tensor to come: its name, safetensors type (``F16``) and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the raw tensor."""
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


def header(specs: Sequence[Spec], metadata: Mapping[str, str]) -> bytes:
    """Length field and JSON header of a file with these tensors, padded to 8 bytes as the reference does.

    Wide types come first, so that every tensor is aligned to its own width.
    """
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for spec in specs:
        entries[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [offset, offset + spec.nbytes]}
        offset += spec.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def shards(specs: Sequence[Spec], limit: int = SHARD_BYTES) -> dict[str, list[Spec]]:
    """Tensors by file: filled in the given order up to ``limit`` bytes, named as transformers names them."""
    parts: list[list[Spec]] = [[]]
    used = 0
    for spec in specs:
        if parts[-1] and used + spec.nbytes > limit:
            parts.append([])
            used = 0
        parts[-1].append(spec)
        used += spec.nbytes
    total = len(parts)
    names = (
        f"model-{n:05d}-of-{total:05d}.safetensors" if total > 1 else "model.safetensors" for n in range(1, total + 1)
    )
    return {
        name: sorted(part, key=lambda s: (-DTYPE_BYTES[s.dtype], s.name))
        for name, part in zip(names, parts, strict=True)
    }


def total_bytes(specs: Sequence[Spec], metadata: Mapping[str, str] | None = None, limit: int = SHARD_BYTES) -> int:
    """Bytes of all files a ``Writer`` would make of these tensors, the index not counted."""
    meta = metadata or {"format": "pt"}
    return sum(len(header(part, meta)) + sum(s.nbytes for s in part) for part in shards(specs, limit).values())


class Writer:
    """Writes tensors to their places; use as a context manager.

    Args:
        specs: every tensor that will come, in the order of the shards.
        folder: where ``model*.safetensors`` (and the index of several) go.
        metadata: the header's ``__metadata__``.
        limit: bytes of tensors per file.
    """

    def __init__(
        self, specs: Sequence[Spec], folder: Path, metadata: Mapping[str, str] | None = None, limit: int = SHARD_BYTES
    ) -> None:
        self._waiting = {spec.name: spec for spec in specs}
        self._places: dict[str, tuple[Path, int]] = {}
        files = shards(specs, limit)
        for name, part in files.items():
            self._begin(folder / name, part, metadata or {"format": "pt"})
        if len(files) > 1:
            _write_index(folder, files)

    def _begin(self, path: Path, specs: Sequence[Spec], metadata: Mapping[str, str]) -> None:
        head = header(specs, metadata)
        offset = len(head)
        for spec in specs:
            self._places[spec.name] = (path, offset)
            offset += spec.nbytes
        with path.open("wb") as file:
            file.write(head)
            file.truncate(offset)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Put one tensor in its place; its type and shape must be the promised ones."""
        import torch

        spec = self._waiting.pop(name)
        kind = TORCH_NAMES.get(str(tensor.dtype).removeprefix("torch."))
        if kind != spec.dtype or tuple(tensor.shape) != spec.shape:
            raise ValueError(f"{name} is {kind} {tuple(tensor.shape)}, promised was {spec.dtype} {spec.shape}")
        path, offset = self._places[name]
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._waiting:
            raise ValueError(f"never written: {', '.join(sorted(self._waiting))}")


def _write_index(folder: Path, files: Mapping[str, Sequence[Spec]]) -> None:
    """The map from tensor to file that loaders want beside several shards."""
    where = {spec.name: name for name, part in files.items() for spec in part}
    size = sum(spec.nbytes for part in files.values() for spec in part)
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def as_float16(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A floating-point tensor in float16.

    Raises:
        CheckpointError: it holds a NaN or an infinity.
        WorkbenchError: a value is beyond float16's range.
    """
    import torch

    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"tensor {name} holds NaN or infinity: the checkpoint is damaged; fetch it again")
    half = tensor.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        peak = float(tensor.abs().max())
        raise WorkbenchError(
            f"tensor {name} holds {peak:.4g}, beyond float16's {FLOAT16_MAX:.0f}, and clipping would change the model; "
            "choose a GGUF or MLX recipe, which keep such tensors in a wider type"
        )
    return half
