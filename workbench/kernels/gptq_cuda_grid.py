"""The grids of ``gptq_grid.py`` chosen on a device: the same rules, all rows of a group at once, in torch.

A scale (float16, as it is stored) and a zero for each row of a group of columns, from the range of the values, or
searched among shares of that range for the least squared error, each column weighted by what an error in it costs.

Example::

    scales, zeros = choose_grid_on_device(values, GptqSettings(bits=4, scales="mse"), costs)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.kernels._gptq_scales import FEW_CODES, FITS, SHARES
from workbench.kernels.gptq_grid import SMALLEST_SCALE
from workbench.kernels.gptq_settings import GptqSettings

if TYPE_CHECKING:
    from torch import Tensor

    Found = tuple[Tensor, Tensor, Tensor]  # error, scale and zero of each row


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
    return _Search(values, costs, settings.bits).run(scales, zeros, free=not settings.symmetric)


class _Search:
    """The search of ``_gptq_scales.py``, all rows of a group at once: the same grids in the same order.

    Args:
        values: ``(rows, columns)``.
        costs: ``(columns,)``.
        bits: of a code.
    """

    def __init__(self, values: Tensor, costs: Tensor, bits: int) -> None:
        self._values, self._costs, self._top = values, costs, (1 << bits) - 1

    def run(self, scales: Tensor, zeros: Tensor, free: bool) -> tuple[Tensor, Tensor]:
        """Better grids than these; with a free zero, others are tried."""
        best = self._best_share(scales, zeros)
        if free and self._top <= FEW_CODES:
            for code in range(1, self._top + 1):
                best = _better(best, self._best_share(scales, zeros.new_full(zeros.shape, code)))
        best = self._refined(*best)
        if free and self._top > FEW_CODES:
            _, scale, first = best
            for step in (-2, -1, 1, 2):
                zero = (first.int() + step).clamp(1, self._top).to(first.dtype)
                best = _better(best, self._refined(self._error(scale, zero), scale, zero))
        return best[1:]

    def _best_share(self, widest: Tensor, zeros: Tensor) -> Found:
        """The share of the widest scales with the least error."""
        best = (self._error(widest, zeros), widest, zeros)
        for share in SHARES[1:].tolist():
            scales = _half(widest.float() * share)
            best = _better(best, (self._error(scales, zeros), scales, zeros))
        return best

    def _refined(self, error: Tensor, scales: Tensor, zeros: Tensor) -> Found:
        """Scales fitted to their own codes by least squares, where that is better."""
        best = (error, scales, zeros)
        for _ in range(FITS):
            codes = self._codes(best[1], zeros)
            along, square = (self._values * codes) @ self._costs, codes.square() @ self._costs
            fitted = _half((along.clamp(min=0) / square).nan_to_num(0))
            best = _better(best, (self._error(fitted, zeros), fitted, zeros))
        return best

    def _codes(self, scales: Tensor, zeros: Tensor) -> Tensor:
        """Codes less the zero; by the share of the scale, as on the CPU."""
        zero = zeros.float()[:, None]
        return (self._values * (1 / scales.float())[:, None]).round().clamp(min=-zero, max=self._top - zero)

    def _error(self, scales: Tensor, zeros: Tensor) -> Tensor:
        """Weighted squared error of rounding each row to nearest on its grid, ``(rows,)``."""
        return (self._values - scales.float()[:, None] * self._codes(scales, zeros)).square() @ self._costs


def _better(old: Found, new: Found) -> Found:
    """Row by row what has the smaller error; of equals the old."""
    import torch

    error, scale, zero = (torch.where(new[0] < old[0], ours, theirs) for ours, theirs in zip(new, old, strict=True))
    return error, scale, zero


def _half(scales: Tensor) -> Tensor:
    """As stored: float16, at least its smallest number."""
    return scales.half().clamp(min=float(SMALLEST_SCALE))


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
    return _half(scale), zero.to(torch.uint8)
