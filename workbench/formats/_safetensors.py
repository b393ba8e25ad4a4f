"""safetensors files laid out before any weight is read, for the front-to-back writer.

A safetensors file is an 8-byte little-endian header length, a JSON header (name -> dtype, shape, place) and the
raw tensors without holes (github.com/huggingface/safetensors). Its own ``save_file`` wants all tensors in memory and
puts metadata in the order of a hash table, so equal models get unequal files. Names, types and shapes are known
before any weight is read: so the header is written first, the tensors follow in the order given, and the size
of the files is known without making them.

Example::

    group = Group((Spec("w", "F16", (2, 2)),), pieces=lambda: [lambda: weights])
    files = safetensors_files([group])
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.formats._output import OutputFile, Part
from workbench.tensors import DTYPE_BYTES, TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workbench.formats._output import Piece

SHARD_BYTES = 5_000_000_000  # as transformers' save_pretrained cut for years; loaders accept any size
INDEX_NAME = "model.safetensors.index.json"
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


@dataclass(frozen=True)
class Group:
    """Tensors that are made together and lie together: one, or those that a quantized layer becomes.

    Attributes:
        specs: in the order of the file.
        pieces: as ``Part.pieces``.
        tail: as ``Part.tail``.
        sources: as ``Part.sources``.
    """

    specs: tuple[Spec, ...]
    pieces: Callable[[], Iterable[Piece]] | None = None
    tail: Piece | None = None
    sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The first tensor's name."""
        return self.specs[0].name

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        return sum(spec.nbytes for spec in self.specs)


def quantized_group(
    specs: tuple[Spec, ...], source: TensorInfo, make: Callable[[int], tuple[NDArray[Any], ...]]
) -> Group:
    """Tensors a layer becomes when its rows are independent: the integers piece by piece, then all that goes with them.

    Args:
        specs: the integers, then one tensor for each thing that goes with them (scales, biases ...).
        source: the layer's weight.
        make: makes of one of the source's chunks the integers and the parts of the others, in the order of ``specs``.
    """
    rest: dict[int, tuple[NDArray[Any], ...]] = {}

    def piece(place: int) -> NDArray[Any]:
        integers, *others = make(place)
        rest[place] = tuple(others)
        return integers

    def tail() -> NDArray[Any]:
        import numpy as np

        made = [rest.pop(place) for place in range(len(source.chunks))]
        return np.concatenate(
            [others[part].reshape(-1).view(np.uint8) for part in range(len(specs) - 1) for others in made]
        )

    return Group(specs, lambda: (partial(piece, place) for place in range(len(source.chunks))), tail, (source.name,))


def header(specs: Sequence[Spec], notes: str) -> bytes:
    """Length field and JSON header of a file with these tensors in this order, padded to 8 bytes as the reference does.

    Args:
        specs: in the order of the file.
        notes: the file's metadata, as JSON.

    Raises:
        WorkbenchError: a tensor would not be aligned to its own type, which readers that map the file need.
    """
    entries = [f'"__metadata__":{notes}']  # put together by hand: a plan asks for a hundred thousand entries
    offset = 0
    for spec in specs:
        if offset % DTYPE_BYTES[spec.dtype]:
            raise WorkbenchError(
                f"{spec.name} follows tensors of odd sizes and cannot be stored; choose another format"
            )
        end = offset + spec.nbytes
        name, shape = encode_basestring_ascii(spec.name), ",".join(map(str, spec.shape))
        entries.append(f'{name}:{{"dtype":"{spec.dtype}","shape":[{shape}],"data_offsets":[{offset},{end}]}}')
        offset = end
    text = f"{{{','.join(entries)}}}".encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def safetensors_files(
    groups: Sequence[Group], metadata: Mapping[str, str] | None = None, limit: int = SHARD_BYTES
) -> list[OutputFile]:
    """The files of these tensors: filled in the given order up to ``limit`` bytes, named as transformers names them."""
    shards: list[list[Group]] = [[]]
    filled = 0
    for group in groups:
        if shards[-1] and filled + group.nbytes > limit:
            shards.append([])
            filled = 0
        shards[-1].append(group)
        filled += group.nbytes
    total = len(shards)
    notes = json.dumps(dict(sorted((metadata or {"format": "pt"}).items())), separators=(",", ":"), ensure_ascii=False)
    files = []
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{total:05d}.safetensors" if total > 1 else "model.safetensors"
        head = header([spec for group in shard for spec in group.specs], notes)
        parts = tuple(Part(group.name, group.nbytes, group.pieces, group.tail, group.sources) for group in shard)
        files.append(OutputFile(name, head, parts))
    return files


def total_bytes(files: Sequence[OutputFile]) -> int:
    """Bytes of all files, the index not counted."""
    return sum(file.nbytes for file in files)


def write_index(folder: Path, groups: Sequence[Group], files: Sequence[OutputFile]) -> None:
    """The map from tensor to file that loaders want beside several shards; none beside a single one."""
    if len(files) == 1:
        return
    file_of = {part.name: file.name for file in files for part in file.parts}
    where = {spec.name: file_of[group.name] for group in groups for spec in group.specs}
    index = {
        "metadata": {"total_size": sum(group.nbytes for group in groups)},
        "weight_map": dict(sorted(where.items())),
    }
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
