"""The inner loop of GPTQ, compiled: columns one after another, rows side by side.

Within a block the columns below j make up for the error of column j: with M the inverse of the block's
Cholesky factor, column k moves by ``-(w_j - q_j) M_jk / M_jj``. The update of one row runs along contiguous
memory in vector instructions. Rows do not touch one another, so ordinary threads take rows: the compiled
code runs without the interpreter's lock, and unlike OpenMP's, waiting threads do not spin (on a busy
machine spinning made small layers ten times slower).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

ROWS_WORTH_A_THREAD = 512


def round_columns(
    target: NDArray[np.float32],
    inverse: NDArray[np.float32],
    span: tuple[int, int],
    grid: tuple[NDArray[np.float32], NDArray[np.float32], float],
    out: tuple[NDArray[np.uint8], NDArray[np.float32]],
    threads: int,
) -> None:
    """Round the columns of one group, last to first, and shift those before them.

    Args:
        target: ``(rows, block)`` values to round; columns before the group are changed.
        inverse: ``(block, block)`` lower triangular, the inverse of the block's Cholesky factor.
        span: first and one past last column of the group.
        grid: scales and zeros ``(rows,)``, and the largest code.
        out: codes and what they stand for, ``(rows, block)`` each; written in the span.
        threads: most threads to use.
    """
    scales, zeros, top = grid
    codes, rounded = out

    def piece(rows: slice) -> None:
        _round_rows(target[rows], inverse, span, (scales[rows], zeros[rows], top), codes[rows], rounded[rows])

    count = min(threads, max(1, len(target) // ROWS_WORTH_A_THREAD))
    edges = [len(target) * part // count for part in range(count + 1)]
    pieces = [slice(first, last) for first, last in pairwise(edges)]
    if count == 1:
        piece(pieces[0])
    else:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(piece, pieces))


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile; keep the machine code on disk where some folder can be written."""
    options: dict[str, Any] = {"nogil": True}
    try:
        compiled: Callable[..., None] = njit(cache=True, **options)(function)
    except RuntimeError:  # numba's "no locator available": neither the package nor the home may be written
        compiled = njit(**options)(function)
    return compiled


@_compiled
def _round_rows(
    target: NDArray[np.float32],
    inverse: NDArray[np.float32],
    span: tuple[int, int],
    grid: tuple[NDArray[np.float32], NDArray[np.float32], float],
    codes: NDArray[np.uint8],
    rounded: NDArray[np.float32],
) -> None:
    """``round_columns`` on some rows."""
    scales, zeros, top = grid
    for row in range(target.shape[0]):
        scale, zero = scales[row], zeros[row]
        for column in range(span[1] - 1, span[0] - 1, -1):
            value = target[row, column]
            code = min(max(np.rint(value / scale) + zero, 0.0), top)
            back = scale * (code - zero)
            codes[row, column] = np.uint8(code)
            rounded[row, column] = back
            shift = np.float32((value - back) / inverse[column, column])
            for earlier in range(column):
                target[row, earlier] -= shift * inverse[column, earlier]
