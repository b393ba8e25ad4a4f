"""The second moments of a layer's inputs, and their triangular factor, tile by tile in place.

GPTQ needs H = X^T X over all calibration tokens and a factor of it. StarCoder-15B's second MLP matrix has 24,576
inputs: H is 2.4 GB in float32, and the usual route (reverse the order, copy, Cholesky) would hold four of it.
Here only the upper triangle is summed, and H + D = U U^T with U upper triangular is found in its place
(``_upper_factor.py``). The lower triangle keeps a mirror of H meanwhile, for another try with more damping. A third of
the n^3 of the paper's inverse and factor is left (see ``workbench/kernels/gptq.py`` for why U is enough).

Every tile is the work of one thread, so the result does not depend on their number.

Example::

    hessian = new_hessian(inputs); add_inputs(hessian, x, workers)
    factor = factorise(hessian, 0.01, False, workers)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.kernels._tiles import edges, mirror, order_both_ways, restore, transpose_into, upper_tiles
from workbench.kernels._upper_factor import factorise_in_place, inverses_of_blocks
from workbench.products import add_product
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

TILE = 512
TOKENS = 1024  # summed in one product
BLOCK = 128  # columns GPTQ rounds between two large products; every group size divides it
DOUBLE_UP_TO = 1024  # widest Hessian factorised in float64: below, the time does not matter
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

    @property
    def reordered(self) -> bool:
        """Whether the order is another than the columns' own."""
        return bool((self.order[1:] < self.order[:-1]).any())


def new_hessian(inputs: int) -> Tensor:
    """An empty Hessian ``(inputs, inputs)``."""
    import torch

    return torch.zeros(inputs, inputs)


def add_inputs(hessian: Tensor, inputs: Tensor, workers: Workers) -> None:
    """Add the inputs of a layer, ``(tokens, in)``, to the upper triangle of its Hessian, in place."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    for tokens in edges(len(flat), TOKENS):
        _add_tokens(hessian, flat[tokens], workers)


def _add_tokens(hessian: Tensor, inputs: Tensor, workers: Workers) -> None:
    parts = edges(len(hessian), TILE)
    columns = list(workers.map(lambda part: _columns(inputs, part), parts))

    def tile(place: tuple[slice, slice]) -> None:
        rows, across = (columns[part.start // TILE] for part in place)
        add_product(hessian[place], rows, across)

    workers.run(tile, upper_tiles(parts))


def _columns(inputs: Tensor, part: slice) -> Tensor:
    """Some columns of the inputs as rows of their own, float32."""
    import torch

    values = inputs[:, part].float()
    columns = torch.empty(values.shape[1], len(values))
    transpose_into(columns, values)
    return columns


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

    check_finite(hessian)
    order = torch.arange(len(hessian))
    mirror(hessian, TILE, workers)
    if desc_act:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        order_both_ways(hessian, order, TILE, workers)
    work = hessian.double() if len(hessian) <= DOUBLE_UP_TO else hessian
    damping = damp_until_definite(
        work, damp, lambda: factorise_in_place(work, TILE, workers), lambda: restore(work, TILE, workers)
    )
    inverses = inverses_of_blocks(work, BLOCK, workers)
    return Factor(work.float(), inverses, order, damping.added, damping.damp, damping.notes(tokens))


def check_finite(hessian: Tensor) -> None:
    """Refuse a Hessian of inputs that were not finite.

    Raises:
        WorkbenchError: they were not.
    """
    import torch

    if not bool(torch.isfinite(hessian.diagonal()).all()):  # |H_ij| is at most the larger of H_ii and H_jj
        raise WorkbenchError(
            "calibration activations hold NaN or infinity, so the model itself overflows on these texts; "
            "check the checkpoint, or calibrate on other texts"
        )


@dataclass(frozen=True)
class Damping:
    """What made a Hessian definite.

    Attributes:
        raw: its diagonal before, ``(in,)``.
        added: what was added to it, ``(in,)`` float64.
        asked: share of the mean diagonal that was to be added.
        damp: share that was.
    """

    raw: Tensor
    added: Tensor
    asked: float
    damp: float

    def notes(self, tokens: int | None) -> tuple[str, ...]:
        """A sentence for all that had to be handled; ``tokens`` as ``factorise`` takes them."""
        return notes_on(self.raw, tokens, self.asked, self.damp)


def damp_until_definite(
    work: Tensor, asked: float, factorise_work: Callable[[], bool], restore_work: Callable[[], None]
) -> Damping:
    """Factorise a Hessian with as much damping as it takes, wherever it lies.

    Args:
        work: ``(in, in)``, mirrored; damped and factorised in place.
        asked: share of the mean diagonal to begin with.
        factorise_work: does it; ``False`` where the matrix is not definite.
        restore_work: then undoes what it did, but for the diagonal.

    Raises:
        WorkbenchError: no damping makes it definite.
    """
    import torch

    raw = work.diagonal().clone()
    alive = raw > 0
    plain = torch.where(alive, raw, raw[alive].mean() if bool(alive.any()) else 1.0)
    damp = asked
    while damp <= MOST_DAMP:
        damped = plain + damp * plain.mean()
        work.diagonal().copy_(damped)
        if factorise_work():
            return Damping(raw, damped.double() - raw.double(), asked, damp)
        restore_work()
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
