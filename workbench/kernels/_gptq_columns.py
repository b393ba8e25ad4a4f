"""The inner loop of GPTQ, compiled: columns one after another, rows side by side.

Within a block the columns below j make up for the error of column j: with M the inverse of the block's
Cholesky factor, column k moves by ``-(w_j - q_j) M_jk / M_jj``. Rows do not touch one another, so threads
take rows, and the update of one row runs along contiguous memory in vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile for all cores; keep the machine code on disk where some folder can be written."""
    options: dict[str, Any] = {"parallel": True, "nogil": True}
    try:
        compiled: Callable[..., None] = njit(cache=True, **options)(function)
    except RuntimeError:  # numba's "no locator available": neither the package nor the home may be written
        compiled = njit(**options)(function)
    return compiled


@_compiled
def round_columns(
    target: NDArray[np.float32],
    inverse: NDArray[np.float32],
    span: tuple[int, int],
    grid: tuple[NDArray[np.float32], NDArray[np.float32], float],
    codes: NDArray[np.uint8],
    rounded: NDArray[np.float32],
) -> None:
    """Round the columns of one group, last to first, and shift those before them.

    Args:
        target: ``(rows, block)`` values to round; columns before the group are changed.
        inverse: ``(block, block)`` lower triangular, the inverse of the block's Cholesky factor.
        span: first and one past last column of the group.
        grid: scales and zeros ``(rows,)``, and the largest code.
        codes: ``(rows, block)``, written in the span.
        rounded: ``(rows, block)``, what the codes stand for; written in the span.
    """
    first, end = span
    scales, zeros, top = grid
    for row in prange(target.shape[0]):
        scale, zero = scales[row], zeros[row]
        for column in range(end - 1, first - 1, -1):
            value = target[row, column]
            code = min(max(np.rint(value / scale) + zero, 0.0), top)
            back = scale * (code - zero)
            codes[row, column] = np.uint8(code)
            rounded[row, column] = back
            shift = np.float32((value - back) / inverse[column, column])
            for earlier in range(column):
                target[row, earlier] -= shift * inverse[column, earlier]
