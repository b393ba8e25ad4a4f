"""Products of float32 matrices by the quickest kernel that torch brings for this processor.

torch hands float32 products to Intel's MKL, which keeps to AVX2 on processors of other makers: on an AMD Zen 5
core 100 GFLOP/s of the 220 that its AVX-512 units can do. oneDNN, inside the same torch, asks the processor what
it has and reaches the 220; it is behind the operator that torch's compiler fuses linear layers into. Which of the
two is taken follows from the processor and the shapes alone, never from a stopwatch: on one machine the same
product always has the same bytes. Both keep float32 throughout; oneDNN's rounding error is up to twice MKL's
(4e-7 against 2e-7 of the result's norm for normal numbers and 1,024 terms).

oneDNN wants its second matrix in one piece, row after row or column after column; a slice of columns is copied first.

Example::

    multiply(inputs, weight)                # inputs @ weight.T
    subtract_product(target, left, right)   # target -= left @ right.T, in place
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1 << 20  # multiplications below which oneDNN's start costs more than it gains
NARROWEST = 8  # rows, columns or terms below which a product only moves memory


@cache
def has_onednn() -> bool:
    """Whether this processor has AVX-512 and this torch oneDNN's kernels for it."""
    import torch

    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def multiply(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """``left @ right.T + bias``, what a linear layer with the weight ``right`` makes of its inputs.

    Call it where torch is single-threaded, as inside ``Workers``, when the bytes must not depend on the number of
    threads. No gradients.

    Args:
        left: ``(..., terms)``.
        right: ``(columns, terms)``.
        bias: ``(columns,)``, added to each row.
    """
    import torch

    with torch.no_grad():
        if not _pays(left, right):
            return torch.nn.functional.linear(left, right, bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(left, _in_one_piece(right), bias, "none", [], "")
        return found


def add_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    """``target += left @ right.T`` for matrices, in place; the target may be a part of a larger matrix."""
    if _pays(left, right):
        target.add_(multiply(left, right))
    else:
        target.addmm_(left, right.t())


def subtract_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    """``target -= left @ right.T`` for matrices, in place; the target may be a part of a larger matrix."""
    if _pays(left, right):
        target.sub_(multiply(left, right))
    else:
        target.addmm_(left, right.t(), alpha=-1)


def _pays(left: Tensor, right: Tensor) -> bool:
    """Whether oneDNN can and should do it."""
    import torch

    terms, columns = left.shape[-1], right.shape[0]
    if left.dtype != torch.float32 or right.dtype != torch.float32 or left.is_cuda or right.is_cuda:
        return False
    if min(terms, columns) < NARROWEST or left.numel() < NARROWEST * terms:
        return False
    return left.numel() * columns >= SMALLEST and has_onednn()


def _in_one_piece(matrix: Tensor) -> Tensor:
    """The matrix itself if its rows or its columns lie one behind the other, else a copy that keeps their direction."""
    by_columns = matrix.stride(0) < matrix.stride(1)
    return matrix.t().contiguous().t() if by_columns else matrix.contiguous()
