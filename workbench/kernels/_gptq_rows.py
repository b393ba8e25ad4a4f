"""Some rows of a layer on their way to codes: large products between blocks of columns, compiled loops inside.

Rows do not touch one another, so a layer goes in pieces of ``ROWS`` rows, one thread each; how the columns of a block
follow from those before is told in ``gptq.py``. Blocks of ``BLOCK`` columns lie in wide ones of ``WIDE``: what all
columns before a wide block carry into it is a sum of square products, which run near the processor's peak; within it
products are as narrow as a block. Float copies are held of the pieces in work only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_columns import LANES, Corner, round_columns
from workbench.kernels._tiles import edges, gather_columns
from workbench.kernels.gptq_grid import choose_grid
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import BLOCK, Factor
from workbench.products import add_product, multiply

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 512  # of a piece
WIDE = 512  # columns of a wide block
ERROR_ROWS = 512  # output rows on which the relative error is taken; all of them in smaller layers


def groups_in_order(order: NDArray[np.int64], settings: GptqSettings) -> NDArray[np.int64]:
    """The group of the column at each place of the factor's order: static groups are neighbours in the original one."""
    columns = len(order)
    group = columns if settings.group_size == -1 else settings.group_size
    return (order if settings.static_groups else np.arange(columns)) // group


class Piece:
    """Some rows of a layer on their way to codes.

    Args:
        weight: the rows, of any float type.
        factor: of the layer's Hessian.
        settings: bits and groups.
        every: the relative error is taken on each ``every``-th row.

    Attributes:
        codes: ``(rows, in)``; in the end with columns in their original order.
        scales: ``(rows, groups)``, float16.
        zeros: ``(rows, groups)``.
        sums: tr(E H E^T) and tr(W H W^T) over the rows looked at, H without damping.
    """

    def __init__(self, weight: Tensor, factor: Factor, settings: GptqSettings, every: int) -> None:
        self._weight = weight.detach()
        self._factor = factor
        self._settings = settings
        self._every = every
        rows, columns = weight.shape
        self._reordered = factor.reordered
        self._groups = groups_in_order(factor.order.numpy(), settings)
        self._group = columns if settings.group_size == -1 else settings.group_size
        self._static = settings.static_groups or self._group == columns
        self.codes = np.empty((rows, columns), dtype=np.uint8)
        self.scales = np.empty((rows, -(-columns // self._group)), dtype=np.float16)
        self.zeros = np.empty(self.scales.shape, dtype=np.uint8)
        self._floats = np.empty((2, *self.scales.T.shape), dtype=np.float32)  # both, for the compiled loop
        self._damage = np.zeros(rows)
        self.sums = [0.0, 0.0]

    def round(self) -> Piece:
        """Round all columns; returns itself."""
        order = self._factor.order.numpy()
        if self._static:
            self._choose_all(np.argsort(order))
        if self._reordered:
            self._weight = self._in_order(order)
        before: list[Tensor] = []
        for wide in edges(self._weight.shape[1], WIDE):
            before.append(self._round_wide(wide, before))
        self.sums[0] = float(self._damage[:: self._every].sum())
        if self._reordered:
            gather_columns(self.codes, np.argsort(order), self.codes)
        del self._weight
        return self

    def _round_wide(self, wide: slice, before: list[Tensor]) -> Tensor:
        """Round the columns of a wide block.

        Args:
            wide: its columns.
            before: what this returned for those before it.

        Returns:
            ``(rows + rows looked at, width)``: what rounding changed, and beneath it some rows of the weights, which
            take the same products on their way to the norm of the layer's output.
        """
        import torch

        upper, rows = self._factor.upper, len(self.codes)
        original = self._columns(wide)
        found = torch.cat([torch.empty_like(original), original[:: self._every]])
        carried = torch.zeros_like(found)
        for place, left in enumerate(before):
            first = place * WIDE
            add_product(carried, left, upper[first : first + WIDE, wide].t())
        for own in edges(original.shape[1], BLOCK):
            block = slice(wide.start + own.start, wide.start + own.stop)
            self._round_block(block, original[:, own], carried, found)
        self._add_output(found[rows:], carried[rows:], wide)
        return found

    def _round_block(self, block: slice, original: Tensor, carried: Tensor, found: Tensor) -> None:
        """Round the columns of a block: of ``carried`` and ``found``, which are of the whole wide block, its part."""
        upper, inverse = self._factor.upper, self._factor.inverses[block.start // BLOCK]
        wide_start = block.start - block.start % WIDE
        near = slice(0, block.start - wide_start)
        own = slice(near.stop, block.stop - wide_start)
        rows, width = original.shape
        pushed = carried[:rows, own]
        if near.stop:
            add_product(pushed, found[:rows, near], upper[wide_start : block.start, block].t())
        target = multiply(pushed, inverse.t()).add_(original).numpy()
        corner = Corner.of(upper[block, block], inverse, self._factor.added[block]).arrays()
        codes, change = self.codes[:, block], found[:rows, own].numpy()
        top = float((1 << self._settings.bits) - 1)
        step = width if self._static else min(self._group, width)
        for first in range(0, width, step):
            last = min(first + step, width)
            span = slice(block.start + first, block.start + last)
            if not self._static:
                self._choose(self._groups[span.start], target[:, first:last], span)
            grid = (self._floats[0], self._floats[1], self._groups[span], top)
            round_columns((target, original.numpy()), corner, (first, last), grid, codes, (change, self._damage))

    def _columns(self, which: slice) -> Tensor:
        """Some columns of the weights, float32.

        Raises:
            WorkbenchError: a weight is not finite.
        """
        import torch

        values = self._weight[:, which].float().contiguous()
        if not bool(torch.isfinite(values.sum())) and not bool(torch.isfinite(values).all()):
            raise WorkbenchError("a weight is NaN or infinity: the checkpoint is damaged; fetch it again")
        return values

    def _in_order(self, order: NDArray[np.int64]) -> Tensor:
        """The weights with their columns in the order of the factor, float32."""
        import torch

        values = torch.empty(self._weight.shape, dtype=torch.float32)
        for some in edges(len(values), LANES):
            gather_columns(self._weight[some].float().numpy(), order, values[some].numpy())
        return values

    def _choose_all(self, place: NDArray[np.int64]) -> None:
        """All grids from the weights as they are; ``place`` is where in the order each column is."""
        for group, columns in enumerate(edges(self._weight.shape[1], self._group)):
            self._choose(group, self._columns(columns).numpy(), place[columns])

    def _choose(self, group: int, values: NDArray[np.float32], places: slice | NDArray[np.int64]) -> None:
        """The grid of a group from the values of its columns, at their places in the order."""
        costs = self._factor.upper.diagonal()[places].square().numpy()
        grid = choose_grid(values, self._settings, costs)
        self.scales[:, group], self.zeros[:, group] = grid.scale, grid.zero
        self._floats[0, group], self._floats[1, group] = grid.scale, grid.zero

    def _add_output(self, some: Tensor, carried: Tensor, wide: slice) -> None:
        """Add a wide block's columns of W U, squared, less what was added to H; W of the rows looked at."""
        import torch

        whole = carried + multiply(some, self._factor.upper[wide, wide].triu().t())
        squares = some.square().sum(0, dtype=torch.float64)
        self.sums[1] += float(whole.square().sum(dtype=torch.float64) - squares @ self._factor.added[wide])
