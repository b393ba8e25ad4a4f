"""The inner loop of GPTQ, compiled: columns one after another, rows side by side.

Within a block the columns behind j make up for the error of column j: with M the inverse of the block's
triangular factor, column k moves by ``-(w_j - q_j) M_jk / M_jj``. Rows do not touch one another, so ``LANES`` of them
are laid side by side, column behind column, where vector instructions take them sixteen at a time and the nearest cache
holds them all; a column takes what those before it owe it at once, just before it is rounded. The compiled code runs
without the interpreter's lock, so threads can take some rows each.

The damage of rounding comes with it: column j adds ``((w_j - q_j) U_jj)^2`` for the moved w_j, and U_jj is 1 / M_jj.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

LANES = 64  # rows side by side


@dataclass(frozen=True)
class Corner:
    """What the loop needs of a block's corner of the factor.

    Attributes:
        shares: ``(block, block)``, at ``[k, j]`` what column k takes of the error of column j before it.
        sizes: U's diagonal ``(block,)``.
        added: what was added to the diagonal of H ``(block,)``.
    """

    shares: Floats
    sizes: Floats
    added: Floats

    @staticmethod
    def of(upper: Tensor, inverse: Tensor, added: Tensor) -> Corner:
        """From the factor's block on the diagonal and its inverse."""
        shares = (inverse / inverse.diagonal()[:, None]).t().contiguous()
        return Corner(shares.numpy(), upper.diagonal().contiguous().numpy(), added.float().numpy())

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """As the compiled loop takes them."""
        return self.shares, self.sizes, self.added


# Scales are never 0, so no division needs a check that would keep it out of the vector units.
_compiled = partial(compile_kept, error_model="numpy")


@_compiled
def _take(strip: Floats, k: int, shares: Floats, first: int, last: int) -> None:
    """Column k takes what the columns from first to last owe it."""
    j = first
    while j + 4 <= last:  # four at a time: column k is read and written a quarter as often
        a, b, c, d = shares[j], shares[j + 1], shares[j + 2], shares[j + 3]
        for lane in range(LANES):
            near = a * strip[j, lane] + b * strip[j + 1, lane]
            strip[k, lane] -= near + (c * strip[j + 2, lane] + d * strip[j + 3, lane])
        j += 4
    while j < last:
        for lane in range(LANES):
            strip[k, lane] -= shares[j] * strip[j, lane]
        j += 1


@_compiled
def _round(value: Floats, grid: Floats, top: float, code: Floats, size: float, worse: NDArray[np.float64]) -> None:
    """The codes nearest to a column's values, which become what rounding takes from them; adds its damage."""
    largest, lowest = np.float32(top), np.float32(0)
    for lane in range(LANES):
        scale, zero = grid[0, lane], grid[1, lane]
        code[lane] = min(max(np.rint(value[lane] / scale) + zero, lowest), largest)
        value[lane] -= scale * (code[lane] - zero)
        miss = np.float64(value[lane]) * size
        worse[lane] += miss * miss


@_compiled
def _choose(grid: Floats, scales: Floats, zeros: Floats) -> None:
    """The scales and zeros of a group, for as many rows as there are."""
    for lane in range(len(scales)):
        grid[0, lane], grid[1, lane] = scales[lane], zeros[lane]


@_compiled
def round_columns(
    values: tuple[Floats, Floats],
    corner: tuple[Floats, Floats, Floats],
    span: tuple[int, int],
    grid: tuple[Floats, Floats, NDArray[np.int64], float],
    codes: NDArray[np.uint8],
    results: tuple[Floats, NDArray[np.float64]],
) -> None:
    """Round some columns of a block, first to last, and shift those behind them.

    Args:
        values: the weights as the columns before have moved them, ``(rows, block)``, changed behind the span; and as
            they were.
        corner: ``Corner.arrays``.
        span: first and one past last column to round.
        grid: scales and zeros ``(groups, rows)``, the group of each column of the span, and the largest code.
        codes: ``(rows, block)``, written in the span.
        results: original less rounded weights ``(rows, block)``, written in the span; and the damage of each row
            ``(rows,)``, to which the span's is added.
    """
    target, original = values
    shares, sizes, added = corner
    scales, zeros, groups, top = grid
    change, damage = results
    first, last = span
    strip, here = np.zeros((target.shape[1], LANES), np.float32), np.ones((2, LANES), np.float32)
    code, worse = np.zeros(LANES, np.float32), np.zeros(LANES, np.float64)
    for above in range(0, len(target), LANES):
        rows = slice(above, min(above + LANES, len(target)))
        height = rows.stop - above
        strip[first:, :height] = target[rows, first:].T
        worse[:] = 0
        for k in range(first, last):
            if k == first or groups[k - first] != groups[k - first - 1]:
                group = groups[k - first]
                _choose(here, scales[group, rows], zeros[group, rows])
            _take(strip, k, shares[k], first, k)
            _round(strip[k], here, top, code, sizes[k], worse)
            for lane in range(height):
                codes[above + lane, k] = np.uint8(code[lane])
                moved = original[above + lane, k] - here[0, lane] * (code[lane] - here[1, lane])
                change[above + lane, k] = moved
                worse[lane] -= np.float64(moved) * moved * added[k]
        for k in range(last, target.shape[1]):
            _take(strip, k, shares[k], first, last)
            target[rows, k] = strip[k, :height]
        damage[rows] += worse[:height]
