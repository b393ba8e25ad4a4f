"""Some rows of a layer on their way to codes: large products between blocks of columns, compiled loops inside.

Rows do not touch one another, so a layer goes in pieces of ``ROWS`` rows, one thread each; how the columns of a block
follow from those before is told in ``gptq.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_columns import round_columns
from workbench.kernels.gptq_grid import Grid, choose_grid
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import BLOCK, Factor

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 512  # of a piece
ERROR_ROWS = 1024  # output rows on which the relative error is taken; all of them in most layers


class Piece:
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

    def round(self) -> Piece:
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
