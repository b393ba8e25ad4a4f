"""GPTQ: round a weight matrix to few bits so that the layer's output changes least.

For a layer with weights W (out, in) and inputs X the damage of rounding W to Q is ||(W - Q) X^T||^2 =
tr(E H E^T), with E = W - Q and H = X^T X. GPTQ (Frantar et al. 2022, arXiv 2210.17323) rounds one column
after another and shifts the columns still open so that they make up for the error: the conditional optimum.

Stated with a Cholesky factor H = L L^T the same thing needs no inverse of H: the damage is ||E L||^2, and
when columns are rounded from the last to the first, column j adds (E L)_j = E_j L_jj + sum_{i>j} E_i L_ij, in which
only E_j is open. That is Babai's nearest plane (arXiv 2507.18553), with the integers of GPTQ at a quarter
of its factorisation. Here columns are kept in reverse, so that "last to first" is the usual order, and go in blocks:

    carry  = sum over columns done of E_i L_ij          (matrix product)
    target = W_block + carry inv(L_block)               (optimum of the block given what was done)
    Q      = column by column with inv(L_block)         (compiled, rows in parallel)

Rounding to a grid: a code q of ``bits`` bits stands for scale * (q - zero); each group of columns and row has its
own scale and zero, chosen from the targets when the group begins. Scales are rounded to float16 first, so
codes fit the scales that are stored.

Example::

    hessian = new_hessian(weight.shape[1]); add_inputs(hessian, x)
    result = quantize(weight, hessian, GptqSettings(bits=4, group_size=128))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.kernels._gptq_columns import round_columns

if TYPE_CHECKING:
    import torch

BLOCK = 128  # columns rounded between two large matrix products; every group size divides it
DOUBLE_UP_TO = 2048  # widest Hessian factorised in float64: below, the time does not matter
MOST_DAMP = 1.0
ERROR_ROWS = 1024  # output rows on which the relative error is taken; all of them in most layers
SMALLEST_SCALE = np.float16(6e-8)  # the smallest positive float16


@dataclass(frozen=True)
class GptqSettings:
    """How to quantize.

    Attributes:
        bits: 2, 3, 4 or 8.
        group_size: columns that share a scale: 32, 64, 128, or -1 for the whole row.
        symmetric: fixed zero in the middle of the codes; otherwise the grid spans minimum to maximum.
        desc_act: round columns with the largest inputs first (groups then follow that order).
        damp: share of the Hessian's mean diagonal added to it; grows tenfold while the factorisation fails.
    """

    bits: int = 4
    group_size: int = 128
    symmetric: bool = True
    desc_act: bool = False
    damp: float = 0.01


@dataclass(frozen=True)
class GptqResult:
    """A quantized layer.

    Attributes:
        codes: ``(out, in)``, columns in their original order.
        scales: ``(out, groups)``.
        zeros: ``(out, groups)``, each at least 1.
        g_idx: ``(in,)``, the group of each column.
        weight: dequantized ``(out, in)``: ``scales * (codes - zeros)``.
        relative_error: norm of the output's change over norm of the output, on the calibration inputs.
        damp: share of the diagonal that was needed.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    weight: NDArray[np.float32]
    relative_error: float
    damp: float


def new_hessian(inputs: int) -> torch.Tensor:
    """An empty Hessian ``(inputs, inputs)``."""
    import torch

    return torch.zeros(inputs, inputs)


def add_inputs(hessian: torch.Tensor, inputs: torch.Tensor) -> None:
    """Add the inputs of a layer, ``(tokens, in)``, to its Hessian, in place."""
    flat = inputs.reshape(-1, inputs.shape[-1]).float()
    hessian.addmm_(flat.t(), flat)


def quantize(weight: torch.Tensor, hessian: torch.Tensor, settings: GptqSettings) -> GptqResult:
    """Quantize one layer.

    Args:
        weight: ``(out, in)``, float.
        hessian: ``(in, in)`` sum of ``x x^T`` over calibration tokens, float32; not changed.
        settings: bits, groups and order.

    Raises:
        WorkbenchError: inputs or weights are not finite, or no damping makes the Hessian definite.
        ValueError: the group size does not divide the columns.
    """
    columns = weight.shape[1]
    group = columns if settings.group_size == -1 else settings.group_size
    if columns % group:
        raise ValueError(f"groups of {group} do not divide {columns} columns")
    _check_finite(weight, hessian)
    order = _order(hessian, settings.desc_act)
    reverse = order.flip(0)
    factor, damp = _factorise(hessian[reverse][:, reverse], settings.damp)
    codes, scales, zeros = _round_all(weight.float()[:, reverse], factor, group, settings)
    place = np.argsort(order.numpy())  # where in the order each original column was
    g_idx = (place // group).astype(np.int32)
    codes = np.ascontiguousarray(codes[:, ::-1][:, place])
    dequantized = (codes.astype(np.float32) - zeros.astype(np.float32)[:, g_idx]) * scales.astype(np.float32)[:, g_idx]
    error = _relative_error(weight, dequantized, hessian)
    return GptqResult(codes, scales, zeros, g_idx, dequantized, error, damp)


def _check_finite(weight: torch.Tensor, hessian: torch.Tensor) -> None:
    import torch

    if not bool(torch.isfinite(hessian).all()):
        raise WorkbenchError(
            "calibration activations hold NaN or infinity, so the model itself overflows on these texts; "
            "check the checkpoint, or calibrate on other texts"
        )
    if not bool(torch.isfinite(weight).all()):
        raise WorkbenchError("a weight is NaN or infinity: the checkpoint is damaged; fetch it again")


def _order(hessian: torch.Tensor, desc_act: bool) -> torch.Tensor:
    """Columns in the order they are rounded."""
    import torch

    if desc_act:
        return torch.argsort(hessian.diagonal(), descending=True, stable=True)
    return torch.arange(hessian.shape[0])


def _factorise(hessian: torch.Tensor, damp: float) -> tuple[torch.Tensor, float]:
    """Lower Cholesky factor of the damped Hessian (which may be overwritten), and the damping it took.

    A column whose input was always zero has no say in the output; with 1 on its diagonal it is rounded
    to nearest and touches no other. (The paper sets such weights to zero, which breaks the model on the
    first text where the input is not zero.)
    """
    import torch

    work = hessian.double() if hessian.shape[0] <= DOUBLE_UP_TO else hessian
    diagonal = work.diagonal()
    diagonal[diagonal <= 0] = 1.0
    plain = diagonal.clone()
    while damp <= MOST_DAMP:
        diagonal.copy_(plain + damp * plain.mean())
        factor, failed = torch.linalg.cholesky_ex(work)
        if not int(failed) and bool(torch.isfinite(factor.diagonal()).all()):
            return factor, damp
        damp = max(damp * 10, 1e-4)
    raise WorkbenchError("the calibration inputs span too little to quantize this layer; use more or other texts")


def _round_all(
    weight: torch.Tensor, factor: torch.Tensor, group: int, settings: GptqSettings
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.uint8]]:
    """Codes (columns reversed, as in ``weight``), scales and zeros ``(out, groups)``."""
    import torch

    rows, columns = weight.shape
    codes = np.empty((rows, columns), dtype=np.uint8)
    whole_row = choose_grid(weight.numpy(), settings) if group > BLOCK else None
    grids: list[Grid] = []
    carry = torch.zeros(rows, columns)
    threads = torch.get_num_threads()
    for end in range(columns, 0, -BLOCK):
        block, before = slice(max(0, end - BLOCK), end), slice(0, max(0, end - BLOCK))
        inverse = _inverse(factor[block, block])
        target = torch.addmm(weight[:, block], carry[:, block], inverse).numpy()
        rounded = np.empty_like(target)
        block_codes = np.empty(target.shape, dtype=np.uint8)
        width = min(group, target.shape[1])
        for last in range(target.shape[1], 0, -width):
            chosen = whole_row or choose_grid(target[:, last - width : last], settings)
            span = (last - width, last)
            round_columns(target, inverse.numpy(), span, chosen.floats(), (block_codes, rounded), threads)
            grids.append(chosen)
        codes[:, block] = block_codes
        carry[:, before].addmm_(weight[:, block] - torch.from_numpy(rounded), factor[block, before].float())
    grids = [whole_row] if whole_row else grids
    return codes, np.stack([g.scale for g in grids], axis=1), np.stack([g.zero for g in grids], axis=1)


def _inverse(corner: torch.Tensor) -> torch.Tensor:
    """Inverse of a small lower triangular matrix, in float32."""
    import torch

    eye = torch.eye(corner.shape[0], dtype=corner.dtype)
    inverse: torch.Tensor = torch.linalg.solve_triangular(corner, eye, upper=False)
    return inverse.float()


@dataclass(frozen=True)
class Grid:
    """What the codes of one group stand for, per row: ``scale * (code - zero)``, codes up to ``top``."""

    scale: NDArray[np.float16]
    zero: NDArray[np.uint8]
    top: int

    def floats(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """The same in the types of the compiled loop."""
        return self.scale.astype(np.float32), self.zero.astype(np.float32), float(self.top)


def choose_grid(values: NDArray[np.float32], settings: GptqSettings) -> Grid:
    """The grid of one group, from the values to be rounded ``(rows, columns)``.

    Symmetric: from minus to plus the largest magnitude, zero in the middle code. Otherwise from minimum to maximum,
    with 0 always inside; the zero is at least 1, because the layout cannot store 0 (see ``packing``).
    """
    top = (1 << settings.bits) - 1
    low, high = np.minimum(values.min(axis=1), 0.0), np.maximum(values.max(axis=1), 0.0)
    empty = (low == 0) & (high == 0)
    low, high = np.where(empty, -1.0, low), np.where(empty, 1.0, high)
    if settings.symmetric:
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


def _relative_error(weight: torch.Tensor, rounded: NDArray[np.float32], hessian: torch.Tensor) -> float:
    """sqrt(tr(E H E^T) / tr(W H W^T)), on evenly spaced rows of a tall matrix."""
    import torch

    rows = slice(None, None, max(1, weight.shape[0] // ERROR_ROWS))
    original = weight[rows].float()
    change = original - torch.from_numpy(rounded[rows])
    damage = float(((change @ hessian) * change).sum())
    whole = float(((original @ hessian) * original).sum())
    return float(np.sqrt(max(damage, 0.0) / whole)) if whole > 0 else 0.0
