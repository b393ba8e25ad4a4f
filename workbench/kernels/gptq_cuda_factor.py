"""The Hessian and its triangular factor on a GPU: the mathematics of ``hessian.py`` in a device's large products.

The upper triangle of H = X^T X is summed in panels of rows, and H + D = U U^T is found in its place, from the last tile
to the first; the lower triangle keeps a mirror of H for another try with more damping. The widest Hessian of
StarCoder-15B, 24,576 inputs, takes 2.4 GB, its factor nothing more, and a panel on its way 0.4 GB.

Precision. A tensor core multiplies float16 and bfloat16 exactly (11 and 8 bits of mantissa: a product fits into 24) and
adds in float32, so sums of such inputs lose nothing to its speed. TensorFloat-32 would cut float32 inputs to 11 bits,
an error of 0.0005 of each: as large as the smallest eigenvalues that damping leaves (0.01 of the mean), where inputs
are related. So float32 inputs are multiplied in float32, and so is everything behind the Hessian (``full_float32``).

Everything here runs on any device of torch, the CPU too, and there gives what ``hessian.py`` gives within rounding.

Example::

    hessian = torch.zeros(inputs, inputs, device="cuda")
    add_inputs_on_device(hessian, x)
    factor = factorise_on_device(hessian, GptqSettings(desc_act=True))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workbench.kernels._tiles import edges
from workbench.kernels._upper_factor import corner_factor
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import DOUBLE_UP_TO, Factor, check_finite, damp_until_definite

if TYPE_CHECKING:
    from torch import Tensor

TILE = 1024  # columns of the factor found at a time: products this deep run near a device's peak
PANEL = 4096  # rows of the Hessian summed at a time; a seventh of the whole square is computed beyond the triangle

TOGETHER = (
    8192  # tokens to add at a time: adding is memory's work, 2 GB of it for the widest Hessian, whatever their number
)


@contextmanager
def full_float32() -> Iterator[None]:
    """Within it torch multiplies float32 matrices in float32, whatever the caller's setting; restored afterwards."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def add_inputs_on_device(hessian: Tensor, inputs: Tensor) -> None:
    """Add a layer's inputs to the upper triangle of its Hessian, in place.

    Args:
        hessian: ``(in, in)`` float32; what lies below the diagonal is left undefined.
        inputs: ``(tokens, in)`` on the same device, or with more leading dimensions; some thousand tokens at a time
            are summed before they are added, which is faster and rounds less than small batches.
    """
    flat = inputs.reshape(-1, inputs.shape[-1])
    with full_float32():
        for rows in edges(len(hessian), PANEL):
            part = slice(rows.start, len(hessian))
            _add_product(hessian[rows, part], flat[:, rows], flat[:, part])


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left^T right`` with float32 sums of exact products."""
    import torch

    if total.is_cuda and left.dtype in (torch.float16, torch.bfloat16):
        total += torch.mm(left.t(), right, out_dtype=torch.float32)
    else:
        total.addmm_(left.float().t(), right.float())


def factorise_on_device(hessian: Tensor, settings: GptqSettings, tokens: int | None = None) -> Factor:
    """Factorise a Hessian, which is used up; damping grows tenfold while it is not definite.

    The same rules as ``hessian.factorise``. The factor has no inverses: the loop behind it works with the
    triangle itself.

    Args:
        hessian: ``(in, in)`` float32, its upper triangle filled.
        settings: order of the columns, and damping.
        tokens: how many the Hessian was summed over, where that is known; for the notes.

    Raises:
        WorkbenchError: inputs were not finite, or no damping makes the Hessian definite.
    """
    import torch

    check_finite(hessian)
    order = torch.arange(len(hessian), device=hessian.device)
    mirror(hessian)
    if settings.desc_act:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        _reorder(hessian, order)
    work = hessian.double() if len(hessian) <= DOUBLE_UP_TO else hessian
    with full_float32():
        damping = damp_until_definite(work, settings.damp, lambda: _factorise_in_place(work), lambda: _restore(work))
    return Factor(work.float(), [], order, damping.added, damping.damp, damping.notes(tokens))


def mirror(matrix: Tensor) -> None:
    """Copy the upper triangle over the lower, in place."""
    for part in edges(len(matrix), TILE):
        corner = matrix[part, part]
        corner.copy_(corner.triu() + corner.triu(1).t())
        matrix[part.stop :, part] = matrix[part, part.stop :].t()


def _restore(matrix: Tensor) -> None:
    """Copy the lower triangle over the upper, in place; the diagonal is left to the caller."""
    for part in edges(len(matrix), TILE):
        corner = matrix[part, part]
        corner.copy_(corner.tril(-1) + corner.tril(-1).t())
        matrix[part, part.stop :] = matrix[part.stop :, part].t()


def _reorder(matrix: Tensor, order: Tensor) -> None:
    """Put rows and columns of a symmetric matrix in another order, through one copy of it."""
    ordered = matrix[order]  # rows; columns follow when the rows of the transposed are taken
    for part in edges(len(matrix), TILE):
        matrix[part] = ordered[:, order[part]].t()


def _factorise_in_place(matrix: Tensor) -> bool:
    """Replace the upper triangle by U; ``False`` where the matrix is not definite."""
    import torch

    parts = edges(len(matrix), TILE)
    for place in range(len(parts) - 1, -1, -1):
        last = parts[place]
        factor = corner_factor(matrix[last, last])
        if factor is None:
            return False
        matrix[last, last] = factor + matrix[last, last].tril(-1)
        above = matrix[: last.start, last]
        if not len(above):
            continue
        above.copy_(torch.linalg.solve_triangular(factor.t(), above, upper=False, left=False))
        for columns in parts[:place]:
            _subtract(matrix[: columns.stop, columns], above[: columns.stop], above[columns])
    return True


def _subtract(target: Tensor, left: Tensor, right: Tensor) -> None:
    """``target -= left right^T`` for a panel that ends in a corner; below the corner's diagonal stays the mirror."""
    width = target.shape[1]
    kept = target[-width:].tril(-1)
    target.addmm_(left, right.t(), alpha=-1)
    target[-width:] = target[-width:].triu() + kept
