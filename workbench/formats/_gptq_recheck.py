"""Some layers of a finished GPTQ package solved once more, each given the layers before it as they are stored.

A layer's codes follow from its weights and from what it reads, which the layers before it have made. So the calibration
texts pass the package's own dequantized blocks, just as a conversion that was killed goes on with what it finds
(``_gptq_blocks.py``), and only the layers asked for are solved: a conversion of which all else is finished. What is
found of a layer holds given the ones before it; those have their own draw. An altered layer that was not drawn shows,
too, when one behind it was: that one was fitted to other inputs.

The texts pass no block behind the last layer asked for. In memory is what a conversion has there.

Example::

    recheck = Recheck(checkpoint, calibration, stored, {"transformer.h.3.mlp.c_fc"}, put)
    recheck.run(context)                     # put("transformer.h.3.mlp.c_fc.qweight", pieces)
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.checkpoint import Checkpoint
from workbench.errors import ArtifactError
from workbench.formats._draft import Apart
from workbench.formats._gptq_blocks import Calibration, Quantizer
from workbench.formats.base import ConversionContext
from workbench.tensors import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from workbench.formats._draft import Put
    from workbench.kernels.gptq import GptqResult
    from workbench.kernels.gptq_cuda import DeviceResult
    from workbench.kernels.packing import PackedLayer


# What other kernels' sums make of an honest layer, and some room: of the bundled model in 3 (fitted), 4 and 8 bits,
# made with AVX-512 kernels and again with SSE ones, at least 99.56% of a layer's codes were equal, the others 1 or 2
# steps off, and scales up to 4.5% apart (fitted; else 0.2%).
FEWEST_EQUAL, MOST_STEPS, MOST_APART = 0.98, 4, 0.15


class _Taker:
    """Stands for the output of a conversion of which all but some layers is written."""

    def __init__(self, left: Collection[str], put: Put) -> None:
        self._left = {f"{layer}.qweight" for layer in left}
        self.put = put

    def finished(self, name: str) -> bool:
        """Whether a part need not be made."""
        return name not in self._left


class Recheck(Quantizer):
    """One way through the blocks of a finished package.

    Args:
        checkpoint: the source.
        calibration: how it was quantized, and on what.
        stored: where each tensor lies in the package.
        layers: to solve, by full name.
        put: gets each of them, as ``Output.put``, in the order of the blocks.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        calibration: Calibration,
        stored: dict[str, TensorInfo],
        layers: Collection[str],
        put: Put,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="workbench-recheck-")
        super().__init__(checkpoint, calibration, stored, Path(self._temporary.name), _Taker(layers, put))
        self._finished = set(self._modules.linears(checkpoint)) - set(layers)

    def run(self, context: ConversionContext) -> None:
        """Solve the layers asked for.

        Raises:
            ArtifactError: a stored layer is none.
            WorkbenchError: what the stored layers compute is not finite.
        """
        with self._temporary:
            super().run(context)

    def _end(self, depth: int) -> int:
        return 1 + max(place for place in range(depth) if not self._passed(place))

    def _settle(self, name: str, weight: Tensor, result: GptqResult | DeviceResult) -> None:
        """Go on with what is stored, whether or not it is what was found."""
        self._output.put(f"{name}.qweight", result.pieces(self._calibration.version))
        weight.copy_(self._stored_weight(name))

    def _read(self, layer: str) -> PackedLayer:
        packed = super()._read(layer)
        check_groups(packed, layer)
        return packed


def check_groups(packed: PackedLayer, layer: str) -> None:
    """See that a stored layer's inputs belong to groups that it has.

    Raises:
        ArtifactError: one does not.
    """
    if packed.g_idx.size and not 0 <= packed.g_idx.min() <= packed.g_idx.max() < len(packed.scales):
        raise ArtifactError(f"{layer} has inputs that belong to no group")


def codes_apart(made: PackedLayer, stored: PackedLayer, bits: int, version: int) -> Apart:
    """How far two versions of a layer are from each other."""
    import numpy as np

    from workbench.kernels.packing import unpack

    (codes, scales, zeros), (others, other_scales, other_zeros) = (
        unpack(layer, bits, version) for layer in (made, stored)
    )
    steps = np.abs(codes.astype(np.int16) - others)
    same = np.array_equal(zeros, other_zeros) and np.array_equal(made.g_idx, stored.g_idx)
    with np.errstate(all="ignore"):
        one, other = scales.astype(np.float32), other_scales.astype(np.float32)
        apart = float(np.max(np.where(one == other, 0, np.abs(other / one - 1))))  # NaN is within no bound
    equal = float((steps == 0).mean())
    honest = equal >= FEWEST_EQUAL and steps.max() <= MOST_STEPS and apart <= MOST_APART and same
    told = (
        f"{equal:.2%} of its codes are equal, the largest difference is {steps.max()} steps, "
        f"scales are up to {apart:.2%} apart, zeros and groups {'are equal' if same else 'differ'}"
    )
    return Apart(told, "doubtful" if honest else "altered")


def packed_of(data: bytes, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> PackedLayer:
    """A layer out of the bytes of its four tensors, one behind the other.

    Args:
        data: of all of them.
        shapes: safetensors' type and shape of each.
    """
    import numpy as np

    from workbench.kernels.packing import PackedLayer

    tensors: list[NDArray[Any]] = []
    offset = 0
    for dtype, shape in shapes:
        kind: np.dtype[Any] = np.dtype({"I32": "<i4", "F16": "<f2"}[dtype])
        count = int(np.prod(shape))
        tensors.append(np.frombuffer(data, kind, count, offset).reshape(shape))
        offset += count * kind.itemsize
    return PackedLayer(*tensors)
