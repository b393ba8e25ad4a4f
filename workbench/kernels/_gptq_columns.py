"""The inner loop of GPTQ, compiled: columns one after another, rows side by side.

Within a block the columns behind j make up for the error of column j: with M the inverse of the block's
triangular factor, column k moves by ``-(w_j - q_j) M_jk / M_jj``. The update of one row runs along contiguous
memory in vector instructions. Rows do not touch one another and the compiled code runs without the interpreter's
lock, so threads can take some rows each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept


@compile_kept
def round_columns(
    target: NDArray[np.float32],
    inverse: NDArray[np.float32],
    span: tuple[int, int],
    grid: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], float],
    codes: NDArray[np.uint8],
    rounded: NDArray[np.float32],
) -> None:
    """Round some columns of a block, first to last, and shift those behind them.

    Args:
        target: ``(rows, block)`` values to round; columns behind the span are changed.
        inverse: ``(block, block)`` upper triangular, the inverse of the block's factor.
        span: first and one past last column to round.
        grid: scales and zeros ``(rows, groups)``, the group of each column ``(block,)``, and the largest code.
        codes: ``(rows, block)``, written in the span.
        rounded: what the codes stand for, ``(rows, block)``, written in the span.
    """
    scales, zeros, groups, top = grid
    width = target.shape[1]
    for row in range(target.shape[0]):
        for column in range(span[0], span[1]):
            scale, zero = scales[row, groups[column]], zeros[row, groups[column]]
            value = target[row, column]
            code = min(max(np.rint(value / scale) + zero, 0.0), top)
            back = scale * (code - zero)
            codes[row, column] = np.uint8(code)
            rounded[row, column] = back
            shift = np.float32((value - back) / inverse[column, column])
            for later in range(column + 1, width):
                target[row, later] -= shift * inverse[column, later]
