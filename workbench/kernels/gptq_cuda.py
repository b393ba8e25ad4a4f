"""GPTQ on a GPU: the solver of ``gptq.py`` with torch's products and a compiled loop; the same results within rounding.

The Hessian and its factor are ``gptq_cuda_factor.py``'s, the loop inside a block of columns is
``gptq_cuda_columns.py``'s. Between them stand products: a block of 128 columns needs E U of all columns done. Taken
block by block these are thin, and a GPU is half idle, so they go in two levels: once for 1,024 columns from all before
them, and inside those for 128 from the few just done. One matrix of the layer's size holds W where columns are open and
E where they are done, so a layer of 6144 x 24,576 takes 0.6 GB beside its factor and codes.

Codes stay on the device: packed there, and only the packed words come back. Every function runs on any device
of torch; on the CPU it is slower than ``gptq.py`` and serves to check the one against the other.

Example::

    result = quantize_on_device(weight, hessian, GptqSettings())        # a GptqResult, as from gptq.quantize_layer

    factor = factorise_on_device(hessian, settings)                     # layers that read the same inputs
    for weight in (query, key, value):
        solved = solve(weight, factor, settings)
        solved.write_to(weight)                                         # dequantized, on the device
        packed = solved.packed                                          # numpy, for the checkpoint
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_rows import ERROR_ROWS
from workbench.kernels._tiles import edges
from workbench.kernels.gptq import GptqResult
from workbench.kernels.gptq_cuda_columns import Columns, round_columns_on_device
from workbench.kernels.gptq_cuda_factor import factorise_on_device, full_float32
from workbench.kernels.gptq_cuda_grid import choose_grid_on_device
from workbench.kernels.gptq_cuda_packing import pack_on_device
from workbench.kernels.gptq_grid import notes_on_scales
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import BLOCK, Factor
from workbench.kernels.packing import PackedLayer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

WIDE = 1024  # columns whose products with all columns before them are taken at once
ROWS = 2048  # dequantized at a time
TOO_LARGE = "weights are too large for float16 scales; the checkpoint seems damaged, fetch it again"


@dataclass(frozen=True)
class DeviceResult:
    """A quantized layer whose parts lie where it was quantized; like ``gptq.GptqResult``, columns in original order.

    Attributes:
        codes: ``(out, in)`` uint8.
        scales: ``(out, groups)`` float16.
        zeros: ``(out, groups)`` uint8, each at least 1.
        g_idx: ``(in,)`` int32, the group of each column.
        relative_error: norm of the output's change over norm of the output, on the calibration inputs.
        damp: share of the Hessian's mean diagonal that was added.
        bits: of a code.
        notes: a sentence for everything that had to be handled.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    g_idx: Tensor
    relative_error: float
    damp: float
    bits: int
    notes: tuple[str, ...]

    @property
    def packed(self) -> PackedLayer:
        """As checkpoints store it (``packing.py``): packed on the device at each call, in the CPU's memory."""
        return pack_on_device(self.codes, self.scales, self.zeros, self.g_idx, self.bits)

    def pieces(self, version: int) -> Iterator[NDArray[np.generic]]:
        """The same, of a version of the layout, in the order in which it is written."""
        packed = pack_on_device(self.codes, self.scales, self.zeros, self.g_idx, self.bits, version)
        yield from (packed.qweight, packed.qzeros, packed.scales, packed.g_idx)

    def write_to(self, weight: Tensor) -> None:
        """Put what the codes stand for into the layer's parameter, some rows at a time."""
        group = self.g_idx.long()
        for part in edges(len(self.codes), ROWS):
            centred = self.codes[part].float() - self.zeros[part].float()[:, group]
            weight[part] = (centred * self.scales[part].float()[:, group]).to(weight.dtype)

    def on_cpu(self) -> GptqResult:
        """The same in numpy."""
        codes, scales, zeros, g_idx = (part.cpu().numpy() for part in (self.codes, self.scales, self.zeros, self.g_idx))
        return GptqResult(codes, scales, zeros, g_idx, self.relative_error, self.damp, self.bits, self.notes)


def quantize_on_device(weight: Tensor, hessian: Tensor, settings: GptqSettings) -> GptqResult:
    """Quantize one layer on the device that its Hessian lies on.

    Args:
        weight: ``(out, in)``, float.
        hessian: ``X^T X`` over all calibration tokens, ``(in, in)``, its upper triangle read; used up.
        settings: bits, groups, order, scales and damping.

    Raises:
        WorkbenchError: weights or activations that are not finite, or inputs that span too little for any damping.
    """
    return solve(weight, factorise_on_device(hessian, settings), settings).on_cpu()


def solve(weight: Tensor, factor: Factor, settings: GptqSettings) -> DeviceResult:
    """Quantize one layer, given the factor of its Hessian; layers that read the same inputs share it.

    Args:
        weight: ``(out, in)``, float, not changed.
        factor: from ``factorise_on_device``; its device does the work.
        settings: bits, groups and scales.

    Raises:
        WorkbenchError: a weight is not finite, or too large for float16 scales.
        ValueError: the factor is of another number of inputs.
    """
    import torch

    if weight.shape[1] != len(factor.order):
        raise ValueError(f"a weight of {weight.shape[1]} columns and a factor of {len(factor.order)} do not fit")
    with torch.no_grad(), full_float32():
        sweep = _Sweep(weight, factor, settings)
        sweep.round()
        return sweep.result(weight)


class _Sweep:
    """A layer on its way to codes, all rows at once, columns in the factor's order.

    Args:
        weight: of the layer.
        factor: of its Hessian.
        settings: bits, groups and scales.
    """

    def __init__(self, weight: Tensor, factor: Factor, settings: GptqSettings) -> None:
        import torch

        self._factor, self._settings = factor, settings
        self._upper = factor.upper
        self._values = _in_order(weight, factor)
        if not bool(torch.isfinite(self._values.sum(1, dtype=torch.float64)).all()):
            raise WorkbenchError("a weight is NaN or infinity: the checkpoint is damaged; fetch it again")
        rows, columns = self._values.shape
        self._group = columns if settings.group_size == -1 else settings.group_size
        self._static = settings.static_groups or self._group >= columns
        places = torch.arange(columns, device=self._upper.device)
        self._groups = ((factor.order if settings.static_groups else places) // self._group).int()
        count = -(-columns // self._group)
        self._codes = torch.empty(rows, columns, dtype=torch.uint8, device=self._upper.device)
        self._scales = torch.empty(rows, count, dtype=torch.float16, device=self._upper.device)
        self._zeros = torch.empty(rows, count, dtype=torch.uint8, device=self._upper.device)

    def round(self) -> None:
        """Round all columns."""
        columns = self._values.shape[1]
        if self._static:
            for group in range(self._scales.shape[1]):
                places = (self._groups == group).nonzero()[:, 0]
                self._choose(group, self._values[:, places], places)
        step = BLOCK if self._static else min(self._group, BLOCK)
        for wide in edges(columns, WIDE):
            carried = self._values[:, : wide.start] @ self._upper[: wide.start, wide]
            for first in range(wide.start, wide.stop, step):
                span = slice(first, min(first + step, wide.stop))
                self._round_span(span, slice(wide.start, first), carried[:, first - wide.start :][:, :step])

    def _round_span(self, span: slice, near: slice, carried: Tensor) -> None:
        """Round some columns, given what those far before carry into them; ``near`` are the columns between."""
        import torch

        corner, values = self._upper[span, span], self._values[:, span]
        carried.addmm_(self._values[:, near], self._upper[near, span])
        if not self._static:
            moved = torch.linalg.solve_triangular(corner.triu(), carried, upper=True, left=False)
            self._choose(span.start // self._group, values + moved, span)
        top = (1 << self._settings.bits) - 1
        grids = Columns(self._scales, self._zeros, self._groups[span], top)
        round_columns_on_device(values, carried, corner, grids, self._codes[:, span])

    def _choose(self, group: int, values: Tensor, places: Tensor | slice) -> None:
        """The grid of a group, from the values at its columns' places."""
        costs = self._upper.diagonal()[places].square()
        self._scales[:, group], self._zeros[:, group] = choose_grid_on_device(values, self._settings, costs)

    def result(self, weight: Tensor) -> DeviceResult:
        """What came of it; the weights are read once more for the relative error."""
        import torch

        every = slice(None, None, max(1, len(weight) // ERROR_ROWS))
        if bool(torch.isinf(self._scales).any()):
            raise WorkbenchError(TOO_LARGE)
        damage = self._output_square(self._values[every])
        whole = self._output_square(_in_order(weight[every], self._factor))
        place = torch.argsort(self._factor.order)
        reordered = self._settings.desc_act
        return DeviceResult(
            self._codes[:, place] if reordered else self._codes,
            self._scales,
            self._zeros,
            self._groups[place],
            (max(damage, 0.0) / whole) ** 0.5 if whole > 0 else 0.0,
            self._factor.damp,
            self._settings.bits,
            self._factor.notes + notes_on_scales(self._scales.cpu().numpy()),
        )

    def _output_square(self, some: Tensor) -> float:
        """tr(A H A^T) of some rows, H without damping: ||A U||^2 less what damping added."""
        total = -(some.double().square() @ self._factor.added).sum()
        for part in edges(some.shape[1], WIDE):
            product = some[:, : part.start] @ self._upper[: part.start, part]
            product.addmm_(some[:, part], self._upper[part, part].triu())
            total += product.double().square().sum()
        return float(total)


def _in_order(weight: Tensor, factor: Factor) -> Tensor:
    """A float32 copy on the factor's device, its columns in the factor's order."""
    import torch

    values = torch.empty(weight.shape, dtype=torch.float32, device=factor.upper.device)
    for part in edges(len(weight), ROWS):
        values[part] = weight[part].detach().to(values.device)[:, factor.order]
    return values
