"""The search for a group's scales and zeros, compiled: of many grids the one that rounds a row with the least error.

The error of a grid is the weighted sum of squares of rounding the row's values to nearest on it. Tried are shares of
the scale that spans the row's range; the best is then fitted to the codes that it gives,

    scale = sum h w c / sum h c c        (c the code less the zero, h the weight of the column: least squares)

which is kept where it is better still. With a free zero its neighbours are tried as well, and all zeros there are where
they are few. Every scale is rounded to float16 before it is judged, because that is how it will be stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept

SHARES = np.arange(1.0, 0.29, -0.05, dtype=np.float32)  # of the scale that spans the range, to be tried
FEW_CODES = 7  # largest code up to which every zero is tried with every share
FITS = 2  # least squares fits of the scale, each with the codes of the one before


@compile_kept
def to_float16(value: float) -> np.float32:
    """A positive float32 rounded as float16 would hold it, at least the smallest one that float16 has."""
    single = np.float32(value)
    if single < np.float32(2.0**-14):  # float16 counts these in steps of 2**-24
        return np.float32(max(np.rint(single * np.float32(2.0**24)), np.float32(1)) * np.float32(2.0**-24))
    bits = single.view(np.int32)
    return np.int32((bits + np.int32(0xFFF) + ((bits >> np.int32(13)) & np.int32(1))) & np.int32(-0x2000)).view(
        np.float32
    )


def _error_of_row(
    values: NDArray[np.float32], importance: NDArray[np.float32], scale: np.float32, zero: np.float32, top: np.float32
) -> np.float32:
    """Weighted sum of squares of rounding one row on one grid."""
    total = np.float32(0)
    share = np.float32(1) / scale
    lowest, highest = -zero, top - zero
    for column in range(values.shape[0]):
        code = min(max(np.rint(values[column] * share), lowest), highest)
        miss = values[column] - scale * code
        total += importance[column] * miss * miss
    return total


def _fit_of_row(
    values: NDArray[np.float32], importance: NDArray[np.float32], scale: np.float32, zero: np.float32, top: np.float32
) -> np.float32:
    """The scale that fits the codes of one row on one grid best; 0 where there is none."""
    along, square = np.float32(0), np.float32(0)
    share = np.float32(1) / scale
    lowest, highest = -zero, top - zero
    for column in range(values.shape[0]):
        code = min(max(np.rint(values[column] * share), lowest), highest)
        along += importance[column] * values[column] * code
        square += importance[column] * code * code
    return max(along, np.float32(0)) / square if square > np.float32(0) else np.float32(0)


# Sums may be taken in any order, or they would not be vectorised.
_error = compile_kept(_error_of_row, fastmath={"reassoc", "contract"})
_fit = compile_kept(_fit_of_row, fastmath={"reassoc", "contract"})


@compile_kept
def _best_share(values, importance, widest, zero, top):  # type: ignore[no-untyped-def]
    """The share of the widest scale with the least error: that error and the scale."""
    least, best = np.float32(np.inf), widest
    for share in SHARES:
        scale = to_float16(widest * share)
        error = _error(values, importance, scale, zero, top)
        if error < least:
            least, best = error, scale
    return least, best


@compile_kept
def _refined(values, importance, least, scale, zero, top):  # type: ignore[no-untyped-def]
    """The scale fitted to its own codes, as long as that is better."""
    for _ in range(FITS):
        fitted = to_float16(_fit(values, importance, scale, zero, top))
        error = _error(values, importance, fitted, zero, top)
        if error >= least:
            break
        least, scale = error, fitted
    return least, scale


@compile_kept
def search(
    values: NDArray[np.float32],
    importance: NDArray[np.float32],
    scales: NDArray[np.float32],
    zeros: NDArray[np.float32],
    top: float,
    free: bool,
) -> None:
    """Replace the grid of each row by the best that is found; one that is no better than the first guess is not taken.

    Args:
        values: ``(rows, columns)``, contiguous.
        importance: ``(columns,)``, the weight of each column's squared error.
        scales: ``(rows,)``, that span the range; float16's values. Overwritten.
        zeros: ``(rows,)``, overwritten.
        top: the largest code.
        free: whether the zero may be moved, between 1 and ``top``.
    """
    most = np.float32(top)
    for row in range(values.shape[0]):
        line, widest, zero = values[row], scales[row], zeros[row]
        least, scale = _best_share(line, importance, widest, zero, most)
        if free and most <= FEW_CODES:
            for other in range(1, int(most) + 1):
                error, found = _best_share(line, importance, widest, np.float32(other), most)
                if error < least:
                    least, scale, zero = error, found, np.float32(other)
        least, scale = _refined(line, importance, least, scale, zero, most)
        if free and most > FEW_CODES:
            first = zero
            for step in (-2, -1, 1, 2):
                other = min(max(first + np.float32(step), np.float32(1)), most)
                error = _error(line, importance, scale, other, most)
                error, found = _refined(line, importance, error, scale, other, most)
                if error < least:
                    least, scale, zero = error, found, other
        scales[row], zeros[row] = scale, zero
