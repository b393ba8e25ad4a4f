"""GPTQ as the paper writes it, in float64: what the fast solvers are held against.

Algorithm 1 of Frantar et al. 2022 (arXiv 2210.17323), one column after another: the inverse of the damped Hessian, its
upper Cholesky factor, and all open columns updated by each column's error. Slow, and plain enough to be compared with
the paper line by line. It shares no code with ``workbench/kernels``; torch, so that it runs on a GPU too.

    codes, rounded = paper(weight, inputs.double().t() @ inputs.double(), GptqSettings(bits=4))
    error = relative_error(weight, rounded, hessian)
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.kernels.gptq_settings import GptqSettings

Grid = tuple[Tensor, Tensor]


def paper(weight: Tensor, hessian: Tensor, settings: GptqSettings, grids: Grid | None = None) -> tuple[Tensor, Tensor]:
    """Codes and rounded weights, both ``(out, in)``; scales span the range of each group.

    Args:
        weight: ``(out, in)``.
        hessian: ``X^T X``, float64, without inputs that are always zero.
        settings: all of them but how scales are searched.
        grids: scales and zeros ``(out, groups)`` of static groups, where they were chosen otherwise.
    """
    work, columns = weight.double(), weight.shape[1]
    group = columns if settings.group_size == -1 else settings.group_size
    order = torch.arange(columns, device=weight.device)
    if settings.desc_act:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
    static = [_spanning(part, settings) for part in work.split(group, 1)]
    if grids:
        static = list(zip(*(part.double().unbind(1) for part in grids), strict=True))
    work, hessian = work[:, order].clone(), hessian[order][:, order].clone()
    hessian.diagonal().add_(settings.damp * hessian.diagonal().mean())
    upper = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    codes, rounded = torch.zeros_like(work), torch.zeros_like(work)
    grid = static[0]
    for j, original in enumerate(order.tolist()):
        if settings.static_groups:
            grid = static[original // group]
        elif j % group == 0:
            grid = _spanning(work[:, j : j + group], settings)
        scale, zero = grid
        codes[:, j] = ((work[:, j] / scale).round() + zero).clamp(0, 2**settings.bits - 1)
        rounded[:, j] = scale * (codes[:, j] - zero)
        work[:, j:] -= torch.outer((work[:, j] - rounded[:, j]) / upper[j, j], upper[j, j:])
    place = torch.argsort(order)
    return codes[:, place], rounded[:, place]


def _spanning(values: Tensor, settings: GptqSettings) -> Grid:
    """Scales and zeros from minimum to maximum of each row; scales in float16, as stored."""
    top = 2**settings.bits - 1
    low, high = values.amin(1).clamp(max=0), values.amax(1).clamp(min=0)
    if settings.symmetric:
        scale, zero = 2 * torch.maximum(-low, high) / top, torch.full_like(low, 2 ** (settings.bits - 1))
    else:
        scale = (high - low) / top
        zero = (-low / scale).round().clamp(1, top)
    return scale.half().double(), zero


def relative_error(weight: Tensor, rounded: Tensor, hessian: Tensor) -> float:
    """Norm of the output's change over norm of the output, on the inputs of the Hessian (float64)."""
    original = weight.double()
    change = original - rounded
    return float((((change @ hessian) * change).sum() / ((original @ hessian) * original).sum()).sqrt())
