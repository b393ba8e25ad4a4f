"""Some rows of a layer on their way to codes: large products between blocks of columns, compiled loops inside.

Rows do not touch one another, so a layer goes in pieces of ``ROWS`` rows, one thread each; how the columns of a block
follow from those before is told in ``gptq.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_columns import round_columns
from workbench.kernels.gptq_grid import choose_grid
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import BLOCK, Factor

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 512  # of a piece
ERROR_ROWS = 1024  # output rows on which the relative error is taken; all of them in most layers


def groups_in_order(order: NDArray[np.int64], settings: GptqSettings) -> NDArray[np.int64]:
    """The group of the column at each place of the factor's order: static groups are neighbours in the original one."""
    columns = len(order)
    group = columns if settings.group_size == -1 else settings.group_size
    return (order if settings.static_groups else np.arange(columns)) // group


class Piece:
    """Some rows of a layer on their way to codes.

    Args:
        weight: the rows.
        factor: of the layer's Hessian.
        settings: bits and groups.
        every: the relative error is taken on each ``every``-th row.

    Attributes:
        codes: ``(rows, in)``, columns in the order of the factor.
        scales: ``(rows, groups)``, float16.
        zeros: ``(rows, groups)``.
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
        rows, columns = self._weight.shape
        self._change = torch.empty_like(self._weight)
        self._group = columns if settings.group_size == -1 else settings.group_size
        self._static = settings.static_groups or self._group == columns
        self.codes = np.empty((rows, columns), dtype=np.uint8)
        self.scales = np.empty((rows, -(-columns // self._group)), dtype=np.float16)
        self.zeros = np.empty(self.scales.shape, dtype=np.uint8)
        self.sums = [0.0, 0.0]

    def round(self) -> Piece:
        """Round all columns; returns itself."""
        columns = self._weight.shape[1]
        groups = groups_in_order(self._factor.order.numpy(), self._settings)
        if self._static:
            for group in range(self.scales.shape[1]):
                self._choose(group, self._weight.numpy(), np.flatnonzero(groups == group))
        for number, inverse in enumerate(self._factor.inverses):
            block = slice(number * BLOCK, min((number + 1) * BLOCK, columns))
            carried = self._change[:, : block.start] @ self._factor.upper[: block.start, block]
            self._round_block(block, carried, inverse, groups)
            self._add_sums(block, carried)
        added = self._factor.added
        for which, values in enumerate((self._change, self._weight)):
            self.sums[which] -= float((values[:: self._every].double().square() @ added).sum())
        del self._weight, self._change
        return self

    def _round_block(self, block: slice, carried: Tensor, inverse: Tensor, groups: NDArray[np.int64]) -> None:
        import torch

        original = self._weight[:, block]
        target = torch.addmm(original, carried, inverse).numpy()
        rounded = np.empty_like(target)
        codes = np.empty(target.shape, dtype=np.uint8)
        width = target.shape[1]
        top = float((1 << self._settings.bits) - 1)
        step = width if self._static else min(self._group, width)
        for first in range(0, width, step):
            span = (first, min(first + step, width))
            if not self._static:
                self._choose(groups[block][first], target, np.arange(*span), block.start)
            used, which = np.unique(groups[block], return_inverse=True)
            scales, zeros = (part[:, used].astype(np.float32) for part in (self.scales, self.zeros))
            round_columns(target, inverse.numpy(), span, (scales, zeros, which, top), codes, rounded)
        self.codes[:, block] = codes
        self._change[:, block] = original - torch.from_numpy(rounded)

    def _choose(
        self, group: int, values: NDArray[np.float32], columns: NDArray[np.int64], first_column: int = 0
    ) -> None:
        """The grid of a group from its columns of the values, whose first column is the layer's ``first_column``."""
        costs = self._factor.upper.diagonal()[first_column + columns].square().numpy()
        grid = choose_grid(values[:, columns], self._settings, costs)
        self.scales[:, group], self.zeros[:, group] = grid.scale, grid.zero

    def _add_sums(self, block: slice, carried: Tensor) -> None:
        """Add this block's columns of E U and W U, squared."""
        some = slice(None, None, self._every)
        corner = self._factor.upper[block, block].triu()
        damage = carried[some] + self._change[some, block] @ corner
        before = self._weight[some, : block.start] @ self._factor.upper[: block.start, block]
        whole = before + self._weight[some, block] @ corner
        for which, values in enumerate((damage, whole)):
            self.sums[which] += float(values.double().square().sum())
