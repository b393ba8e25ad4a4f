"""The grids that GPTQ rounds to: a scale and a zero for each row of a group of columns.

A code q of ``bits`` bits stands for ``scale * (q - zero)``. Scales are rounded to float16 first, so that codes fit the
scales that are stored, and zeros lie from 1 up, because the layout cannot store 0 (``packing.py``).

The range of a group is only the first guess. A smaller scale clips the few largest weights and is finer for all
others, and which scale has the least error is searched among shares of the range (``_gptq_scales.py``).

Example::

    grid = choose_grid(values, GptqSettings(bits=4, scales="mse"))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_scales import search
from workbench.kernels.gptq_settings import GptqSettings

SMALLEST_SCALE = np.float16(6e-8)  # the smallest positive float16
SMALLEST_EXACT = np.float16(2.0**-14)  # below it float16 holds fewer digits


@dataclass(frozen=True)
class Grid:
    """What the codes of one group stand for, per row: ``scale * (code - zero)``, codes up to ``top``."""

    scale: NDArray[np.float16]
    zero: NDArray[np.uint8]
    top: int

    def floats(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """The same in the types of the compiled loop."""
        return self.scale.astype(np.float32), self.zero.astype(np.float32), float(self.top)


def choose_grid(
    values: NDArray[np.float32], settings: GptqSettings, importance: NDArray[np.float32] | None = None
) -> Grid:
    """The grid of one group.

    Args:
        values: what will be rounded, ``(rows, columns)``.
        settings: bits, symmetry and how scales are chosen.
        importance: ``(columns,)``, what a squared error of 1 in each column costs; used by ``scales="hessian"``.

    Symmetric: from minus to plus the largest magnitude, zero in the middle code. Otherwise from minimum to maximum,
    with 0 always inside; the zero is at least 1, because the layout cannot store 0 (see ``packing``).

    Raises:
        WorkbenchError: weights too large for a float16 scale.
    """
    top = (1 << settings.bits) - 1
    low, high = np.minimum(values.min(axis=1), 0.0), np.maximum(values.max(axis=1), 0.0)
    empty = (low == 0) & (high == 0)
    low, high = np.where(empty, -1.0, low), np.where(empty, 1.0, high)
    grid = _spanning(low, high, top, settings.symmetric)
    if settings.scales == "range":
        return grid
    if settings.scales == "mse" or importance is None:
        importance = np.ones(values.shape[1], np.float32)
    return _searched(grid, values, importance, settings.symmetric)


def _spanning(low: NDArray[np.float32], high: NDArray[np.float32], top: int, symmetric: bool) -> Grid:
    """The grid from ``low`` to ``high``, per row."""
    if symmetric:
        scale = 2 * np.maximum(-low, high) / top
        zero = np.full(len(scale), (top + 1) // 2)
    else:
        scale = (high - low) / top
        zero = np.clip(np.rint(-low / scale), 1, top)
        scale = np.where(np.rint(-low / scale) < 1, high / (top - 1), scale)
    if scale.max(initial=0.0) > np.finfo(np.float16).max:
        raise WorkbenchError("weights are too large for float16 scales; the checkpoint seems damaged, fetch it again")
    stored = np.maximum(scale.astype(np.float16), SMALLEST_SCALE)
    return Grid(stored, zero.astype(np.uint8), top)


def _searched(grid: Grid, values: NDArray[np.float32], costs: NDArray[np.float32], symmetric: bool) -> Grid:
    """The grid of least error, starting from the one that spans the range."""
    scales, zeros, top = grid.floats()
    search(np.ascontiguousarray(values), costs, scales, zeros, top, not symmetric)
    return Grid(scales.astype(np.float16), zeros.astype(np.uint8), grid.top)


def notes_on_scales(scales: NDArray[np.float16]) -> tuple[str, ...]:
    """What float16 did to the scales of a layer, in sentences."""
    smallest, few_digits = int((scales <= SMALLEST_SCALE).sum()), int((scales < SMALLEST_EXACT).sum())
    notes = []
    if smallest:
        notes.append(
            f"{smallest} of {scales.size} scales are as small as float16 can be: their weights lose most digits"
        )
    if few_digits > smallest:
        notes.append(
            f"{few_digits - smallest} of {scales.size} scales are so small that float16 holds few digits of them"
        )
    return tuple(notes)
