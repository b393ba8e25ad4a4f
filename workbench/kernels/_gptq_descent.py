"""The inner loop of polishing codes, compiled: each code of a block set to its optimum, rows side by side.

What a change does to the damage is told in ``gptq_polish.py``. A step of d codes at column j lowers every entry k of
the row's gradient by ``d s H_jk``, which runs along contiguous memory; most codes stay, and cost a division.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept


@compile_kept
def improve_codes(
    gradient: NDArray[np.float32],
    corner: NDArray[np.float32],
    grid: tuple[NDArray[np.float32], NDArray[np.int64], float],
    codes: NDArray[np.uint8],
) -> None:
    """Set the codes of a block, first to last, each to the best one given all others.

    Args:
        gradient: ``(rows, block)``, the error times the Hessian; follows the changes.
        corner: ``(block, block)``, the block on the Hessian's diagonal.
        grid: scales ``(rows, groups)``, the group of each column ``(block,)``, and the largest code.
        codes: ``(rows, block)``, changed in place.
    """
    scales, groups, top = grid
    width = gradient.shape[1]
    for row in range(gradient.shape[0]):
        for column in range(width):
            scale = scales[row, groups[column]]
            best = np.rint(codes[row, column] + gradient[row, column] / (scale * corner[column, column]))
            best = min(max(best, 0.0), top)
            if best != codes[row, column]:
                step = np.float32((best - codes[row, column]) * scale)
                codes[row, column] = np.uint8(best)
                for other in range(width):
                    gradient[row, other] -= step * corner[column, other]
