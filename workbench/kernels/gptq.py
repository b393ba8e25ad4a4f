"""GPTQ: round a weight matrix to few bits so that the layer's output changes least.

For a layer with weights W (out, in) and inputs X the damage of rounding W to Q is ||(W - Q) X^T||^2 =
tr(E H E^T), with E = W - Q and H = X^T X. GPTQ (Frantar et al. 2022, arXiv 2210.17323) rounds one column
after another and shifts the columns still open so that they make up for the error: the conditional optimum.

Stated with a triangular factor H = U U^T the same thing needs no inverse of H: the damage is ||E U||^2, and
when columns are rounded from the first to the last, column j adds (E U)_j = E_j U_jj + sum_{i<j} E_i U_ij, in which
only E_j is open. That is Babai's nearest plane (arXiv 2507.18553), with the integers of GPTQ at a quarter
of its factorisation. Columns go in blocks:

    carried = sum over columns done of E_i U_ij         (matrix product)
    target  = W_block + carried inv(U_block)            (optimum of the block given what was done)
    Q       = column by column with inv(U_block)        (compiled)

Rows do not touch one another: they go in pieces of fixed size, one thread each, so the integers do not depend on
the number of threads and the float copies of a layer are never held whole.

Rounding to a grid: a code q of ``bits`` bits stands for scale * (q - zero); each group of columns and row has its
own scale and zero, chosen from the targets when the group begins. Scales are rounded to float16 first, so
codes fit the scales that are stored.

Example::

    factor = factorise(hessian, 0.01, False, workers)  # workbench/kernels/hessian.py
    result = quantize(weight, factor, GptqSettings(bits=4, group_size=128), workers)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._gptq_rows import ERROR_ROWS, ROWS, Piece
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import Factor
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GptqResult:
    """A quantized layer.

    Attributes:
        codes: ``(out, in)``, columns in their original order.
        scales: ``(out, groups)``.
        zeros: ``(out, groups)``, each at least 1.
        g_idx: ``(in,)``, the group of each column.
        relative_error: norm of the output's change over norm of the output, on the calibration inputs.
        damp: share of the Hessian's mean diagonal that was added.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    relative_error: float
    damp: float

    def rows(self, part: slice) -> NDArray[np.float32]:
        """Some rows of the weights that the codes stand for: ``scales * (codes - zeros)``, just as readers compute."""
        centred = self.codes[part].astype(np.float32) - self.zeros[part].astype(np.float32)[:, self.g_idx]
        weights: NDArray[np.float32] = centred * self.scales[part].astype(np.float32)[:, self.g_idx]
        return weights

    @property
    def weight(self) -> NDArray[np.float32]:
        """All of them, ``(out, in)``."""
        return self.rows(slice(None))

    def write_to(self, weight: Tensor) -> None:
        """Put what the codes stand for into the layer's parameter, without a copy of the whole."""
        import torch

        for first in range(0, len(self.codes), ROWS):
            part = slice(first, first + ROWS)
            weight[part] = torch.from_numpy(self.rows(part))


def quantize(weight: Tensor, factor: Factor, settings: GptqSettings, workers: Workers) -> GptqResult:
    """Quantize one layer.

    Args:
        weight: ``(out, in)``, float.
        factor: of the layer's damped Hessian; layers that read the same inputs share it.
        settings: bits and groups.
        workers: to do it on.

    Raises:
        WorkbenchError: a weight is not finite.
        ValueError: the group size does not divide the columns.
    """
    rows, columns = weight.shape
    group = columns if settings.group_size == -1 else settings.group_size
    if columns % group:
        raise ValueError(f"groups of {group} do not divide {columns} columns")
    every = max(1, rows // ERROR_ROWS)
    parts = [slice(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS)]
    pieces = list(workers.map(lambda part: Piece(weight[part], factor, settings, every).round(), parts))
    damage, whole = (sum(piece.sums[which] for piece in pieces) for which in (0, 1))
    place = np.argsort(factor.order.numpy())  # where in the order each original column was
    codes = np.empty((rows, columns), np.uint8)
    for part, piece in zip(parts, pieces, strict=True):
        codes[part] = piece.codes[:, place]
    return GptqResult(
        codes,
        np.concatenate([np.stack([grid.scale for grid in piece.grids], axis=1) for piece in pieces]),
        np.concatenate([np.stack([grid.zero for grid in piece.grids], axis=1) for piece in pieces]),
        (place // group).astype(np.int32),
        float(np.sqrt(max(damage, 0.0) / whole)) if whole > 0 else 0.0,
        factor.damp,
    )
