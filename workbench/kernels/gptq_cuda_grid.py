"""The grids of ``gptq_grid.py`` chosen on a device: the same rules, all rows of a group at once, in torch.

A scale (float16, as it is stored) and a zero for each row of a group of columns, from the range of the values, or
searched among shares of that range for the least squared error, each column weighted by what an error in it costs.

Example::

    scales, zeros = choose_grid_on_device(values, GptqSettings(bits=4, scales="mse"), costs)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.kernels.gptq_grid import FINEST_SHARE, SMALLEST_SCALE, STEP
from workbench.kernels.gptq_settings import GptqSettings

if TYPE_CHECKING:
    from torch import Tensor


def choose_grid_on_device(values: Tensor, settings: GptqSettings, costs: Tensor) -> tuple[Tensor, Tensor]:
    """The grid of one group; see ``gptq_grid.choose_grid``.

    Args:
        values: what will be rounded, ``(rows, columns)`` float32.
        settings: bits, symmetry and how scales are chosen.
        costs: ``(columns,)``, what a squared error of 1 in each column costs; used by ``scales="hessian"``.

    Returns:
        Scales ``(rows,)`` float16 and zeros ``(rows,)`` uint8.
        A scale too large for float16 is infinite: refusing it here would halt the device at every group.
    """
    import torch

    low, high = values.amin(1).clamp(max=0), values.amax(1).clamp(min=0)
    empty = (low == 0) & (high == 0)
    low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
    scales, zeros = _spanning(low, high, settings)
    if settings.scales == "range":
        return scales, zeros
    if settings.scales == "mse":
        costs = torch.ones_like(costs)
    least = _error(values, costs, scales, zeros, settings.bits)
    for share in _shares()[1:].tolist():
        tried = _spanning(low * share, high * share, settings)
        error = _error(values, costs, *tried, settings.bits)
        better = error < least
        least = torch.where(better, error, least)
        scales, zeros = torch.where(better, tried[0], scales), torch.where(better, tried[1], zeros)
    return scales, zeros


def _shares() -> NDArray[np.float32]:
    """Shares of the range that are tried, the whole first; as ``gptq_grid`` has them, to the last bit."""
    return np.arange(1.0, FINEST_SHARE - STEP / 2, -STEP, dtype=np.float32)


def _spanning(low: Tensor, high: Tensor, settings: GptqSettings) -> tuple[Tensor, Tensor]:
    """The grid from ``low`` to ``high``, per row."""
    import torch

    top = (1 << settings.bits) - 1
    steps = torch.full_like(high, top)  # a tensor: by a plain number CUDA multiplies with its rounded reciprocal
    if settings.symmetric:
        scale = 2 * torch.maximum(-low, high) / steps
        zero = torch.full_like(scale, (top + 1) // 2)
    else:
        scale = (high - low) / steps
        first = (-low / scale).round()
        zero = first.clamp(1, top)
        scale = torch.where(first < 1, high / (steps - 1), scale)
    return scale.half().clamp(min=float(SMALLEST_SCALE)), zero.to(torch.uint8)


def _error(values: Tensor, costs: Tensor, scales: Tensor, zeros: Tensor, bits: int) -> Tensor:
    """Weighted squared error of rounding each row to nearest on its grid, ``(rows,)``."""
    scale, zero = scales.float()[:, None], zeros.float()[:, None]
    codes = (values * (1 / scale)).round().clamp(min=-zero, max=(1 << bits) - 1 - zero)  # by the share, as the CPU's
    return (values - scale * codes).square() @ costs
