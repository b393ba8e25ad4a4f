"""The inner loop of the search for scales, compiled: each row of a group tries a list of grids.

The weighted squared error of rounding to nearest is summed over the group's columns in vector instructions; which
grids are worth trying is up to the caller (``gptq_grid.py``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept


def _error_of_row(
    values: NDArray[np.float32], importance: NDArray[np.float32], scale: float, zero: float, top: float
) -> np.float32:
    """Weighted sum of squares of one row on one grid."""
    total = np.float32(0)
    share = np.float32(1) / scale
    lowest, highest = -zero, top - zero
    for column in range(values.shape[0]):
        code = min(max(np.rint(values[column] * share), lowest), highest)
        miss = values[column] - scale * code
        total += importance[column] * miss * miss
    return total


# Sums may be taken in any order, or they would not be vectorised.
_error = compile_kept(_error_of_row, fastmath={"reassoc", "contract"})


@compile_kept
def least_error(
    values: NDArray[np.float32],
    importance: NDArray[np.float32],
    scales: NDArray[np.float32],
    zeros: NDArray[np.float32],
    top: float,
) -> NDArray[np.int64]:
    """Which of its grids fits each row best; of equal ones the first.

    Args:
        values: ``(rows, columns)``.
        importance: ``(columns,)``, the weight of each column's squared error.
        scales: ``(rows, grids)``.
        zeros: ``(rows, grids)``.
        top: the largest code.

    Returns:
        ``(rows,)``, the place of the grid with the smallest weighted sum of squares.
    """
    best = np.zeros(len(values), np.int64)
    for row in range(len(values)):
        least = np.float32(np.inf)
        for place in range(scales.shape[1]):
            error = _error(values[row], importance, scales[row, place], zeros[row, place], np.float32(top))
            if error < least:
                least = error
                best[row] = place
    return best
