"""Calibration against the float model: the weights that GPTQ should aim at when its inputs are not the float model's.

In a model quantized block by block a layer reads inputs X that the layers before it have already changed, where the
float model's layer reads Y. Plain GPTQ keeps W X, and so every layer adds its error to those before. What should be
kept is W Y: for weights Q the distance ||Y W^T - X Q^T||^2 is, up to a constant,

    tr((T - Q) (H + D) (T - Q)^T)      with  T = W + W S (H + D)^-1,  H = X^T X,  S = (Y - X)^T X,

D the damping, which holds T near W. So rounding T by plain GPTQ under the same H is the whole method, and errors are
fed back from block to block. (GPTAQ, arXiv 2504.02692, and Qronos, arXiv 2505.11695, reach the same aim column by
column.) With H + D = U U^T at hand, T takes two triangular solves and no inverse.

T follows noise too where texts are few: a strength of less than 1 goes only part of the way from W to T.

Example::

    shift = new_shift(inputs); add_shift(shift, x, y, workers)      # for every batch
    target = corrected(weight, shift, factor, 1.0, workers)         # then quantize(target, factor, ...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.kernels.hessian import Factor
from workbench.products import add_product, multiply
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 512  # of a piece, one thread each


def new_shift(inputs: int) -> Tensor:
    """An empty S, ``(inputs, inputs)`` float32."""
    import torch

    return torch.zeros(inputs, inputs)


def add_shift(shift: Tensor, inputs: Tensor, reference: Tensor, workers: Workers) -> None:
    """Add ``(reference - inputs)^T inputs`` to S, in place.

    Args:
        shift: ``(in, in)``.
        inputs: what the layer reads in the quantized model, ``(tokens, in)``.
        reference: what it reads in the float model, of the same shape.
    """
    apart = (reference - inputs).float()
    read = inputs.float()

    def rows(part: slice) -> None:
        add_product(shift[part], apart[:, part].t(), read.t())

    workers.run(rows, _pieces(len(shift)))


def corrected(weight: Tensor, shift: Tensor, factor: Factor, strength: float, workers: Workers) -> Tensor:
    """The weights to aim at, ``W + strength W S (H + D)^-1``.

    Args:
        weight: ``(out, in)``, float.
        shift: S, ``(in, in)``, columns in their original order.
        factor: of ``H + D``; the inputs are those of S.
        strength: 0 keeps the weights, 1 aims at the float model's outputs.
        workers: to do it on, rows in pieces of fixed size.

    Returns:
        ``(out, in)`` float32, columns in their original order.
    """
    import torch

    target = torch.empty(weight.shape, dtype=torch.float32)

    def rows(part: slice) -> None:
        own = weight[part].float()
        moved = multiply(own, shift.t())[:, factor.order]
        half = torch.linalg.solve_triangular(factor.upper.t(), moved, upper=False, left=False)
        change = torch.empty_like(own)
        change[:, factor.order] = torch.linalg.solve_triangular(factor.upper, half, upper=True, left=False)
        target[part] = torch.add(own, change, alpha=strength)

    workers.run(rows, _pieces(len(weight)))
    return target


def _pieces(rows: int) -> list[slice]:
    return [slice(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS)]
