"""GPTQ: round a weight matrix to few bits so that the layer's output changes least.

For a layer with weights W (out, in) and inputs X the damage of rounding W to Q is ||(W - Q) X^T||^2 =
tr(E H E^T), with E = W - Q and H = X^T X. GPTQ (Frantar et al. 2022, arXiv 2210.17323) rounds one column
after another and shifts the columns still open so that they make up for the error: the conditional optimum.

Stated with a triangular factor H = U U^T the same thing needs no inverse of H: the damage is ||E U||^2, and
when columns are rounded from the first to the last, column j adds (E U)_j = E_j U_jj + sum_{i<j} E_i U_ij, in which
only E_j is open. That is Babai's nearest plane (arXiv 2507.18553), with the integers of GPTQ at a quarter
of its factorisation. Columns go in blocks:

    carried = sum over columns done of E_i U_ij         (matrix product)
    target  = W_block + carried inv(U_block)            (optimum of the block given what was done)
    Q       = column by column with inv(U_block)        (compiled)

Rows do not touch one another: they go in pieces of fixed size, one thread each, so the integers do not depend on
the number of threads and the float copies of a layer are never held whole.

Rounding to a grid: a code q of ``bits`` bits stands for scale * (q - zero); each group of columns and row has its
own scale and zero, chosen from the targets when the group begins. Scales are rounded to float16 first, so
codes fit the scales that are stored.

Example::

    factor = factorise(hessian, 0.01, False, workers)  # workbench/kernels/hessian.py
    result = quantize(weight, factor, GptqSettings(bits=4, group_size=128), workers)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_columns import round_columns
from workbench.kernels.hessian import BLOCK, Factor
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 512  # of a piece
ERROR_ROWS = 1024  # output rows on which the relative error is taken; all of them in most layers
SMALLEST_SCALE = np.float16(6e-8)  # the smallest positive float16


@dataclass(frozen=True)
class GptqSettings:
    """How to quantize.

    Attributes:
        bits: 2, 3, 4 or 8.
        group_size: columns that share a scale: 32, 64, 128, or -1 for the whole row.
        symmetric: fixed zero in the middle of the codes; otherwise the grid spans minimum to maximum.
    """

    bits: int = 4
    group_size: int = 128
    symmetric: bool = True


@dataclass(frozen=True)
class GptqResult:
    """A quantized layer.

    Attributes:
        codes: ``(out, in)``, columns in their original order.
        scales: ``(out, groups)``.
        zeros: ``(out, groups)``, each at least 1.
        g_idx: ``(in,)``, the group of each column.
        relative_error: norm of the output's change over norm of the output, on the calibration inputs.
        damp: share of the Hessian's mean diagonal that was added.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    relative_error: float
    damp: float

    def rows(self, part: slice) -> NDArray[np.float32]:
        """Some rows of the weights that the codes stand for: ``scales * (codes - zeros)``, just as readers compute."""
        centred = self.codes[part].astype(np.float32) - self.zeros[part].astype(np.float32)[:, self.g_idx]
        weights: NDArray[np.float32] = centred * self.scales[part].astype(np.float32)[:, self.g_idx]
        return weights

    @property
    def weight(self) -> NDArray[np.float32]:
        """All of them, ``(out, in)``."""
        return self.rows(slice(None))

    def write_to(self, weight: Tensor) -> None:
        """Put what the codes stand for into the layer's parameter, without a copy of the whole."""
        import torch

        for first in range(0, len(self.codes), ROWS):
            part = slice(first, first + ROWS)
            weight[part] = torch.from_numpy(self.rows(part))


def quantize(weight: Tensor, factor: Factor, settings: GptqSettings, workers: Workers) -> GptqResult:
    """Quantize one layer.

    Args:
        weight: ``(out, in)``, float.
        factor: of the layer's damped Hessian; layers that read the same inputs share it.
        settings: bits and groups.
        workers: to do it on.

    Raises:
        WorkbenchError: a weight is not finite.
        ValueError: the group size does not divide the columns.
    """
    rows, columns = weight.shape
    group = columns if settings.group_size == -1 else settings.group_size
    if columns % group:
        raise ValueError(f"groups of {group} do not divide {columns} columns")
    every = max(1, rows // ERROR_ROWS)
    parts = [slice(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS)]
    pieces = list(workers.map(lambda part: _Piece(weight[part], factor, settings, every).round(), parts))
    damage, whole = (sum(piece.sums[which] for piece in pieces) for which in (0, 1))
    place = np.argsort(factor.order.numpy())  # where in the order each original column was
    codes = np.empty((rows, columns), np.uint8)
    for part, piece in zip(parts, pieces, strict=True):
        codes[part] = piece.codes[:, place]
    return GptqResult(
        codes,
        np.concatenate([np.stack([grid.scale for grid in piece.grids], axis=1) for piece in pieces]),
        np.concatenate([np.stack([grid.zero for grid in piece.grids], axis=1) for piece in pieces]),
        (place // group).astype(np.int32),
        float(np.sqrt(max(damage, 0.0) / whole)) if whole > 0 else 0.0,
        factor.damp,
    )


class _Piece:
    """Some rows of a layer on their way to codes.

    Args:
        weight: the rows.
        factor: of the layer's Hessian.
        settings: bits and groups.
        every: the relative error is taken on each ``every``-th row.

    Attributes:
        codes: ``(rows, in)``, columns in the order of the factor.
        grids: of each group.
        sums: tr(E H E^T) and tr(W H W^T) over the rows looked at, H without damping.
    """

    def __init__(self, weight: Tensor, factor: Factor, settings: GptqSettings, every: int) -> None:
        import torch

        self._factor = factor
        self._settings = settings
        self._every = every
        self._weight = weight.float()[:, factor.order]
        if not bool(torch.isfinite(self._weight).all()):
            raise WorkbenchError("a weight is NaN or infinity: the checkpoint is damaged; fetch it again")
        self._change = torch.empty_like(self._weight)
        self.codes = np.empty(self._weight.shape, dtype=np.uint8)
        self.grids: list[Grid] = []
        self.sums = [0.0, 0.0]

    def round(self) -> _Piece:
        """Round all columns; returns itself."""
        columns = self._weight.shape[1]
        whole_row = None
        if self._settings.group_size == -1 and columns > BLOCK:
            whole_row = choose_grid(self._weight.numpy(), self._settings)
            self.grids.append(whole_row)
        for number, inverse in enumerate(self._factor.inverses):
            block = slice(number * BLOCK, min((number + 1) * BLOCK, columns))
            carried = self._change[:, : block.start] @ self._factor.upper[: block.start, block]
            self._round_block(block, carried, inverse, whole_row)
            self._add_sums(block, carried)
        added = self._factor.added
        for which, values in enumerate((self._change, self._weight)):
            self.sums[which] -= float((values[:: self._every].double().square() @ added).sum())
        del self._weight, self._change
        return self

    def _round_block(self, block: slice, carried: Tensor, inverse: Tensor, whole_row: Grid | None) -> None:
        import torch

        original = self._weight[:, block]
        target = torch.addmm(original, carried, inverse).numpy()
        rounded = np.empty_like(target)
        codes = np.empty(target.shape, dtype=np.uint8)
        width = target.shape[1]
        group = width if self._settings.group_size == -1 else self._settings.group_size
        for first in range(0, width, group):
            grid = whole_row or choose_grid(target[:, first : first + group], self._settings)
            round_columns(target, inverse.numpy(), (first, first + group), grid.floats(), codes, rounded)
            if not whole_row:
                self.grids.append(grid)
        self.codes[:, block] = codes
        self._change[:, block] = original - torch.from_numpy(rounded)

    def _add_sums(self, block: slice, carried: Tensor) -> None:
        """Add this block's columns of E U and W U, squared."""
        some = slice(None, None, self._every)
        corner = self._factor.upper[block, block].triu()
        damage = carried[some] + self._change[some, block] @ corner
        before = self._weight[some, : block.start] @ self._factor.upper[: block.start, block]
        whole = before + self._weight[some, block] @ corner
        for which, values in enumerate((damage, whole)):
            self.sums[which] += float(values.double().square().sum())


@dataclass(frozen=True)
class Grid:
    """What the codes of one group stand for, per row: ``scale * (code - zero)``, codes up to ``top``."""

    scale: NDArray[np.float16]
    zero: NDArray[np.uint8]
    top: int

    def floats(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """The same in the types of the compiled loop."""
        return self.scale.astype(np.float32), self.zero.astype(np.float32), float(self.top)


def choose_grid(values: NDArray[np.float32], settings: GptqSettings) -> Grid:
    """The grid of one group, from the values to be rounded ``(rows, columns)``.

    Symmetric: from minus to plus the largest magnitude, zero in the middle code. Otherwise from minimum to maximum,
    with 0 always inside; the zero is at least 1, because the layout cannot store 0 (see ``packing``).
    """
    top = (1 << settings.bits) - 1
    low, high = np.minimum(values.min(axis=1), 0.0), np.maximum(values.max(axis=1), 0.0)
    empty = (low == 0) & (high == 0)
    low, high = np.where(empty, -1.0, low), np.where(empty, 1.0, high)
    if settings.symmetric:
        scale = 2 * np.maximum(-low, high) / top
        zero = np.full(len(scale), (top + 1) // 2)
    else:
        scale = (high - low) / top
        zero = np.clip(np.rint(-low / scale), 1, top)
        scale = np.where(np.rint(-low / scale) < 1, high / (top - 1), scale)
    if scale.max(initial=0.0) > np.finfo(np.float16).max:
        raise WorkbenchError("weights are too large for float16 scales; the checkpoint seems damaged, fetch it again")
    stored = np.maximum(scale.astype(np.float16), SMALLEST_SCALE)
    return Grid(stored, zero.astype(np.uint8), top)
