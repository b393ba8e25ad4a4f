"""The second moments of a layer's inputs, and their triangular factor, tile by tile in place.

GPTQ needs H = X^T X over all calibration tokens and a factor of it. StarCoder-15B's second MLP matrix has 24,576
inputs: H is 2.4 GB in float32, and the usual route (reverse the order, copy, Cholesky) would hold four of it.
Here only the upper triangle is summed, and H + D = U U^T with U upper triangular is found in its place, from the
last tile to the first:

    U_kk = triangular factor of the corner H_kk
    U_ik = H_ik U_kk^-T                         for the tiles i above it
    H_ij = H_ij - U_ik U_jk^T                   for what is still open, i <= j < k

The lower triangle keeps a mirror of H meanwhile, for another try with more damping. Every tile is the work of one
thread, so the result does not depend on their number. A third of the n^3 of the paper's inverse and
factor is left (see ``workbench/kernels/gptq.py`` for why U is enough).

Example::

    hessian = new_hessian(inputs); add_inputs(hessian, x, workers)
    factor = factorise(hessian, 0.01, False, workers)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

TILE = 1024
BLOCK = 128  # columns GPTQ rounds between two large products; every group size divides it
DOUBLE_UP_TO = 2048  # widest Hessian factorised in float64: below, the time does not matter
MOST_DAMP = 1.0


@dataclass(frozen=True)
class Factor:
    """U of H + D = U U^T, its rows and columns in the order in which GPTQ rounds.

    Attributes:
        upper: ``(in, in)`` float32; only what lies above and on the diagonal counts.
        inverses: inverses of its corner blocks on the diagonal, ``BLOCK`` wide each, upper triangular, float32.
        order: the original column at each place.
        added: D's diagonal ``(in,)``, float64.
        damp: share of the mean diagonal that D took.
        notes: a sentence for everything about these inputs that had to be handled.
    """

    upper: Tensor
    inverses: list[Tensor]
    order: Tensor
    added: Tensor
    damp: float
    notes: tuple[str, ...] = ()


def new_hessian(inputs: int) -> Tensor:
    """An empty Hessian ``(inputs, inputs)``."""
    import torch

    return torch.zeros(inputs, inputs)


def add_inputs(hessian: Tensor, inputs: Tensor, workers: Workers) -> None:
    """Add the inputs of a layer, ``(tokens, in)``, to the upper triangle of its Hessian, in place."""
    flat = inputs.reshape(-1, inputs.shape[-1]).float()

    def tile(place: tuple[slice, slice]) -> None:
        rows, columns = place
        hessian[rows, columns].addmm_(flat[:, rows].t(), flat[:, columns])

    workers.run(tile, _upper_tiles(len(hessian)))


def factorise(hessian: Tensor, damp: float, desc_act: bool, workers: Workers, tokens: int | None = None) -> Factor:
    """Factorise a Hessian, which is used up; damping grows tenfold while it is not definite.

    A column whose input was always zero has no say in the output; with the mean of the others on its diagonal it is
    rounded to nearest and touches no other. (The paper sets such weights to zero, which breaks the model on the
    first text where the input is not zero.)

    Args:
        hessian: ``(in, in)``, its upper triangle filled.
        damp: share of the mean diagonal to add.
        desc_act: order columns by falling diagonal: what is largest is rounded first.
        workers: to do it on.
        tokens: how many the Hessian was summed over, where that is known; for the notes.

    Raises:
        WorkbenchError: inputs were not finite, or no damping makes the Hessian definite.
    """
    import torch

    if not bool(torch.isfinite(hessian.diagonal()).all()):  # |H_ij| is at most the larger of H_ii and H_jj
        raise WorkbenchError(
            "calibration activations hold NaN or infinity, so the model itself overflows on these texts; "
            "check the checkpoint, or calibrate on other texts"
        )
    order = torch.arange(len(hessian))
    _mirror(hessian, workers)
    if desc_act:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        hessian = _ordered(hessian, order, workers)
    work = hessian.double() if len(hessian) <= DOUBLE_UP_TO else hessian
    raw = work.diagonal().clone()
    alive = raw > 0
    plain = torch.where(alive, raw, raw[alive].mean() if bool(alive.any()) else 1.0)
    asked = damp
    while damp <= MOST_DAMP:
        damped = plain + damp * plain.mean()
        work.diagonal().copy_(damped)
        if _factorise_in_place(work, workers):
            return Factor(
                work.float(),
                _inverses(work, workers),
                order,
                damped.double() - raw.double(),
                damp,
                notes_on(raw, tokens, asked, damp),
            )
        _restore(work, workers)
        damp = max(damp * 10, 1e-4)
    raise WorkbenchError("the calibration inputs span too little to quantize this layer; use more or other texts")


def notes_on(diagonal: Tensor, tokens: int | None, asked: float, damp: float) -> tuple[str, ...]:
    """What had to be handled, in sentences; the diagonal is that of the Hessian before damping."""
    inputs, dead = len(diagonal), int((diagonal <= 0).sum())
    notes = []
    if dead == inputs:
        notes.append(f"no input was ever other than zero ({_count(tokens)}): the weights are rounded to nearest")
    elif dead:
        notes.append(f"{dead} of {inputs} inputs were always zero: their weights are rounded to nearest")
    if tokens is not None and tokens < inputs:
        notes.append(f"{tokens} calibration tokens are fewer than {inputs} inputs: damping alone tells the rest apart")
    if damp > asked:
        notes.append(f"damping was raised from {asked:g} to {damp:g}, for the inputs hardly differ from one another")
    return tuple(notes)


def _count(tokens: int | None) -> str:
    return "tokens not counted" if tokens is None else f"{tokens} tokens"


def _edges(size: int, step: int = TILE) -> list[slice]:
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]


def _upper_tiles(size: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles above and on the diagonal."""
    edges = _edges(size)
    return ((rows, columns) for place, rows in enumerate(edges) for columns in edges[place:])


def _mirror(matrix: Tensor, workers: Workers) -> None:
    """Copy the upper triangle over the lower."""

    def tile(place: tuple[slice, slice]) -> None:
        rows, columns = place
        if rows != columns:
            matrix[columns, rows] = matrix[rows, columns].t()
        else:
            corner = matrix[rows, rows]
            corner.copy_(corner.triu() + corner.triu(1).t())

    workers.run(tile, _upper_tiles(len(matrix)))


def _restore(matrix: Tensor, workers: Workers) -> None:
    """Copy the lower triangle over the upper; the diagonal is left to the caller."""

    def tile(place: tuple[slice, slice]) -> None:
        rows, columns = place
        if rows != columns:
            matrix[rows, columns] = matrix[columns, rows].t()
        else:
            corner = matrix[rows, rows]
            corner.copy_(corner.tril(-1) + corner.tril(-1).t())

    workers.run(tile, _upper_tiles(len(matrix)))


def _ordered(matrix: Tensor, order: Tensor, workers: Workers) -> Tensor:
    """A copy with rows and columns in another order."""
    import torch

    result = torch.empty_like(matrix)

    def rows(part: slice) -> None:
        result[part] = matrix[order[part]][:, order]

    workers.run(rows, _edges(len(matrix)))
    return result


def _factorise_in_place(matrix: Tensor, workers: Workers) -> bool:
    """Replace the upper triangle by U; ``False`` where the matrix is not definite."""
    edges = _edges(len(matrix))
    for place in range(len(edges) - 1, -1, -1):
        last = edges[place]
        factor = next(workers.map(_upper_factor, [matrix[last, last]]))
        if factor is None:
            return False
        matrix[last, last] = factor + matrix[last, last].tril(-1)
        _eliminate(matrix, edges[:place], last, factor, workers)
    return True


def _eliminate(matrix: Tensor, above: list[slice], last: slice, factor: Tensor, workers: Workers) -> None:
    """The tiles of U above a corner whose factor is known, and what they take from the tiles still open."""
    import torch

    def column(rows: slice) -> None:
        tile = matrix[rows, last]
        tile.copy_(torch.linalg.solve_triangular(factor.t(), tile, upper=False, left=False))

    def remainder(tile: tuple[slice, slice]) -> None:
        rows, columns = tile
        target = matrix[rows, columns]
        mirror = target.tril(-1) if rows == columns else None
        target.addmm_(matrix[rows, last], matrix[columns, last].t(), alpha=-1)
        if mirror is not None:
            target.copy_(target.triu() + mirror)

    workers.run(column, above)
    workers.run(remainder, ((rows, columns) for place, rows in enumerate(above) for columns in above[place:]))


def _upper_factor(corner: Tensor) -> Tensor | None:
    """U of a small H = U U^T, of which the upper triangle is read: Cholesky's factor with the order reversed twice."""
    import torch

    lower, failed = torch.linalg.cholesky_ex(corner.flip(0, 1))
    if int(failed) or not bool(torch.isfinite(lower.diagonal()).all()):
        return None
    factor: Tensor = lower.flip(0, 1)
    return factor


def _inverses(upper: Tensor, workers: Workers) -> list[Tensor]:
    """Inverses of the blocks on the diagonal."""
    import torch

    def inverse(block: slice) -> Tensor:
        eye = torch.eye(block.stop - block.start, dtype=upper.dtype)
        found: Tensor = torch.linalg.solve_triangular(upper[block, block].triu(), eye, upper=True)
        return found.float()

    return list(workers.map(inverse, _edges(len(upper), BLOCK)))
