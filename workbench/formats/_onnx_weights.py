"""The data file of an ONNX model: which tensors it holds, where each lies, and how it is made from the checkpoint.

Matrices keep the checkpoint's order, (out, in) with rows first, because ``Gemm`` with ``transB`` and ``MatMulNBits``
read it: so rows stream through. Layers that read the same input lie one after the other and are one matrix: a
llama's query, key and value are one product, as are its two MLP inputs.

Tensors begin at multiples of 64 bytes, those of a page or more at multiples of 4096, so that readers can map them
into memory. Offsets are Python integers: 2 GB and more are nothing special.

Example::

    weights = Weights(checkpoint, bits=4)
    weights.matrix("model.layers.0.mlp.down_proj", quantized=True)
    places, parts = weights.lay_out()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._floats import cast, float_group, float_spec, raw
from workbench.formats._onnx_blocks import block_specs, quantize
from workbench.formats._onnx_graph import Place
from workbench.formats._output import Part
from workbench.formats._safetensors import Group, Spec
from workbench.tensors import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.formats._output import Piece

ALIGNMENT, PAGE = 64, 4096
_DTYPES = {"F16": "float16", "U8": "uint8"}


class Weights:
    """Tensors to be stored, in the order they were first asked for.

    Args:
        checkpoint: the source.
        bits: of quantized matrices; 16 quantizes none.
    """

    def __init__(self, checkpoint: Checkpoint, bits: int) -> None:
        self.bits = bits
        self._checkpoint = checkpoint
        self._groups: dict[str, Group] = {}

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a tensor."""
        return name in self._checkpoint.tensors

    def floats(self, name: str, sources: Sequence[str] | None = None) -> str:
        """Store tensors as one float16 tensor, rows after rows; returns its name."""
        if name not in self._groups:
            groups = [float_group(self._checkpoint, info) for info in self._infos(sources or (name,))]
            shape = _stacked([group.specs[0].shape for group in groups])
            self._groups[name] = Group(
                (Spec(name, "F16", shape),),
                lambda: chain.from_iterable(group.pieces() for group in groups if group.pieces),
                sources=tuple(source for group in groups for source in group.sources),
            )
        return name

    def blocks(self, name: str, sources: Sequence[str], bits: int) -> tuple[str, ...]:
        """Store matrices as one quantized matrix; returns the names of its codes, scales and any zero points."""
        if name not in self._groups:
            infos = self._infos(sources)
            rows, columns = _stacked([float_spec(info).shape for info in infos])
            self._groups[name] = _quantized(self._checkpoint, infos, block_specs(name, rows, columns, bits), bits)
        return tuple(spec.name for spec in self._groups[name].specs)

    def shape(self, sources: Sequence[str]) -> tuple[int, ...]:
        """Shape of tensors put one after the other."""
        return _stacked([info.shape for info in self._infos(sources)])

    def lay_out(self) -> tuple[dict[str, Place], tuple[Part, ...]]:
        """Places of all tensors by name, in the order of the file, and the parts that write it."""
        places: dict[str, Place] = {}
        parts = []
        end = 0
        for group in self._groups.values():
            start = _up(end, PAGE if group.nbytes >= PAGE else ALIGNMENT)
            at = start
            for spec in group.specs:
                at = _up(at, ALIGNMENT)
                places[spec.name] = Place(_DTYPES[spec.dtype], spec.shape, at, spec.nbytes)
                at += spec.nbytes
            pieces = partial(_after_gap, start - end, group.pieces)
            parts.append(Part(group.name, at - end, pieces, group.tail, group.sources))
            end = at
        return places, tuple(parts)

    def _infos(self, names: Sequence[str]) -> list[TensorInfo]:
        """Where tensors lie in the checkpoint, or that one is missing."""
        missing = [name for name in names if name not in self._checkpoint.tensors]
        if missing:
            raise CheckpointError(f"{self._checkpoint.path} lacks {missing[0]}; give --model a complete checkpoint")
        return [self._checkpoint.tensors[name] for name in names]


def _stacked(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _up(offset: int, step: int) -> int:
    return -(-offset // step) * step


def _gap(nbytes: int) -> Any:
    import numpy as np

    return np.zeros(nbytes, np.uint8)


def _after_gap(gap: int, pieces: Callable[[], Iterable[Piece]] | None) -> Iterable[Piece]:
    assert pieces is not None  # every group here makes its own
    return chain([partial(_gap, gap)] if gap else [], pieces())


def _quantized(checkpoint: Checkpoint, infos: Sequence[TensorInfo], specs: Sequence[Spec], bits: int) -> Group:
    """Codes chunk by chunk; scales and zero points follow when all chunks were made, each on a boundary."""
    rest: dict[int, list[Tensor]] = {}

    def pieces() -> Iterable[Piece]:
        chunks = [(info.name, place) for info in infos for place in range(len(info.chunks))]
        return (partial(piece, number, *chunk) for number, chunk in enumerate(chunks))

    def piece(number: int, name: str, place: int) -> Any:
        import torch

        values = cast(name, checkpoint.read_chunk(name, place), torch.float32)
        codes, *others = quantize(values, bits)
        rest[number] = [other for other in others if other is not None]
        return raw(codes)

    def tail() -> Any:
        import numpy as np

        made = [rest.pop(number) for number in sorted(rest)]
        parts = []
        for place, before in enumerate(specs[:-1]):
            parts += [_gap(-before.nbytes % ALIGNMENT), *(raw(row[place]) for row in made)]
        return np.concatenate(parts)

    return Group(tuple(specs), pieces, tail, tuple(info.name for info in infos))
