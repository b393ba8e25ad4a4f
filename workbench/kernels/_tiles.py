"""Square tiles of a symmetric matrix too large to copy: where they lie, how they are mirrored and reordered in place.

All work goes tile by tile, each the work of one thread, so results do not depend on the number of threads, and what
is needed beside the matrix is a tile or a slab of rows for each thread.

Example::

    mirror(matrix, 512, workers)                      # the upper triangle over the lower
    order_both_ways(matrix, order, 512, workers)      # matrix[order][:, order], without a second matrix
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

NEAR = 16  # rows and columns transposed at a time: 16 float32 are a line of the cache


def edges(size: int, step: int) -> list[slice]:
    """Consecutive slices of ``step``, the last one perhaps narrower."""
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]


def upper_tiles(parts: list[slice]) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles above and on the diagonal."""
    return ((rows, columns) for place, rows in enumerate(parts) for columns in parts[place:])


@compile_kept
def _transpose(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Down one narrow strip of columns after another: few pages and cache lines are open at a time."""
    rows, columns = source.shape
    square = np.empty((NEAR, NEAR), source.dtype)
    for column in range(0, columns, NEAR):
        for row in range(0, rows, NEAR):
            if row + NEAR <= rows and column + NEAR <= columns:
                for i in range(NEAR):  # loops of fixed length become vector instructions
                    for j in range(NEAR):
                        square[i, j] = source[row + i, column + j]
                for j in range(NEAR):
                    for i in range(NEAR):
                        target[column + j, row + i] = square[i, j]
            else:
                for i in range(row, min(row + NEAR, rows)):
                    for j in range(column, min(column + NEAR, columns)):
                        target[j, i] = source[i, j]


def transpose_into(target: Tensor, source: Tensor) -> None:
    """``target = source.T``, several times faster than torch's copy where rows lie a power of two apart."""
    _transpose(source.detach().numpy(), target.numpy())


@compile_kept
def gather_columns(source: NDArray[Any], order: NDArray[np.int64], target: NDArray[Any]) -> None:
    """``target = source[:, order]``, row by row through the nearest cache; the target may be the source."""
    kept = np.empty(source.shape[1], source.dtype)
    for row in range(source.shape[0]):
        for place in range(len(kept)):
            kept[place] = source[row, place]
        for place in range(len(order)):
            target[row, place] = kept[order[place]]


def mirror(matrix: Tensor, step: int, workers: Workers) -> None:
    """Copy the upper triangle over the lower."""

    def tile(place: tuple[slice, slice]) -> None:
        rows, columns = place
        if rows != columns:
            transpose_into(matrix[columns, rows], matrix[rows, columns])
        else:
            corner = matrix[rows, rows]
            corner.copy_(corner.triu() + corner.triu(1).t())

    workers.run(tile, upper_tiles(edges(len(matrix), step)))


def restore(matrix: Tensor, step: int, workers: Workers) -> None:
    """Copy the lower triangle over the upper; the diagonal is left to the caller."""

    def tile(place: tuple[slice, slice]) -> None:
        rows, columns = place
        if rows != columns:
            transpose_into(matrix[rows, columns], matrix[columns, rows])
        else:
            corner = matrix[rows, rows]
            corner.copy_(corner.tril(-1) + corner.tril(-1).t())

    workers.run(tile, upper_tiles(edges(len(matrix), step)))


def order_both_ways(matrix: Tensor, order: Tensor, step: int, workers: Workers) -> None:
    """Put the rows and columns of a symmetric matrix in another order, in place.

    Columns are reordered slab by slab; what comes out is transposed, and because the matrix was symmetric, the same
    once more does the rows.

    Args:
        matrix: ``(n, n)``, both triangles filled.
        order: ``(n,)``, the present place of each new row and column.
        step: width of a tile and rows of a slab.
        workers: to do it on.
    """
    parts = edges(len(matrix), step)
    places = order.numpy()

    def columns_of(rows: slice) -> None:
        slab = matrix[rows].numpy()
        gather_columns(slab, places, slab)

    def swap(place: tuple[slice, slice]) -> None:
        rows, columns = place
        kept = matrix[rows, columns].clone()
        transpose_into(matrix[rows, columns], matrix[columns, rows].clone())
        if rows != columns:
            transpose_into(matrix[columns, rows], kept)

    workers.run(columns_of, parts)
    workers.run(swap, upper_tiles(parts))
    workers.run(columns_of, parts)
