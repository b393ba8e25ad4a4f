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

    result = quantize_layer(weight, GptqSettings(bits=4, group_size=128), inputs=activations)
    result.packed.qweight, result.weight, result.relative_error, result.notes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._gptq_rows import ERROR_ROWS, ROWS, Piece, groups_in_order
from workbench.kernels.gptq_grid import notes_on_scales
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import Factor, add_inputs, factorise, new_hessian
from workbench.kernels.packing import PackedLayer, pack, packed_pieces, weights_of
from workbench.processors import available_processors
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

    Matrix = Tensor | NDArray[Any]


@dataclass(frozen=True)
class GptqResult:
    """A quantized layer.

    Attributes:
        codes: ``(out, in)``, columns in their original order.
        scales: ``(out, groups)``.
        zeros: ``(out, groups)``, each at least 1.
        g_idx: ``(in,)``, the group of each column.
        relative_error: norm of the output's change over norm of the output, on the calibration inputs; 0 where the
            layer gave nothing on them.
        damp: share of the Hessian's mean diagonal that was added.
        bits: of a code.
        notes: a sentence for everything about this layer that had to be handled.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    relative_error: float
    damp: float
    bits: int
    notes: tuple[str, ...] = ()

    @property
    def packed(self) -> PackedLayer:
        """As checkpoints store it (``packing.py``), computed at each call.

        Raises:
            ValueError: sizes that do not fill whole words of 32 bits.
        """
        return pack(self.codes, self.scales, self.zeros, self.g_idx, self.bits)

    def pieces(self, version: int) -> Iterator[NDArray[np.generic]]:
        """The same in pieces, in the order in which they are written; see ``packing.packed_pieces``."""
        return packed_pieces(self.codes, self.scales, self.zeros, self.g_idx, self.bits, version)

    def rows(self, part: slice) -> NDArray[np.float32]:
        """Some rows of the weights that the codes stand for."""
        return weights_of(self.codes[part], self.scales[part], self.zeros[part], self.g_idx)

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


def quantize_layer(
    weight: Matrix,
    settings: GptqSettings,
    *,
    hessian: Matrix | None = None,
    inputs: Matrix | None = None,
    workers: Workers | None = None,
) -> GptqResult:
    """Quantize one linear layer ``y = x W^T``: the whole of GPTQ in one call.

    Nothing that is handed in is changed. For layers that read the same inputs, ``factorise`` once
    (``hessian.py``) and ``quantize`` each.

    Args:
        weight: ``(out, in)``; a torch tensor or numpy array of float16, bfloat16, float32 or float64. A tensor on a
            GPU is quantized there (``gptq_cuda.py``).
        settings: bits, groups, order, scales and damping.
        hessian: ``X^T X`` over all calibration tokens, ``(in, in)``; its upper triangle is read.
        inputs: or the inputs X themselves, ``(tokens, in)`` or with more leading dimensions, as they come.
        workers: threads to do it on; by default one for each processor.

    Returns:
        Codes, scales, zeros and groups; from them ``.packed`` (tensors of a checkpoint) and ``.weight`` (float32), the
        relative error in the layer's output, and ``.notes``, which tell what had to be handled: inputs that were
        always zero, fewer tokens than inputs, damping that had to grow, scales that float16 cannot hold.

    Raises:
        ValueError: not exactly one of ``hessian`` and ``inputs``, other types than floats, shapes that do not fit one
            another, an empty weight, or a Hessian that is none.
        WorkbenchError: weights or activations that are not finite, or inputs that span too little for any damping.

    Source: Frantar et al. 2022, arXiv 2210.17323, algorithm 1; by the triangular factor told of in this module.
    """
    if (hessian is None) == (inputs is None):
        raise ValueError("give either the Hessian or the inputs")
    matrix = as_tensor(weight, "weight")
    if not matrix.numel():
        raise ValueError(f"a weight {tuple(matrix.shape)} holds nothing to quantize")
    if matrix.is_cuda:
        return _on_device(matrix, settings, hessian, inputs)
    if workers is None:
        with Workers(available_processors()) as own:
            return quantize_layer(matrix, settings, hessian=hessian, inputs=inputs, workers=own)
    moments, tokens = _moments(matrix, hessian, inputs, partial(add_inputs, workers=workers))
    factor = factorise(moments, settings.damp, settings.desc_act, workers, tokens)
    return quantize(matrix, factor, settings, workers)


def _on_device(weight: Tensor, settings: GptqSettings, hessian: Matrix | None, inputs: Matrix | None) -> GptqResult:
    """The same where the weight lies on a GPU."""
    from workbench.kernels.gptq_cuda import solve
    from workbench.kernels.gptq_cuda_factor import add_inputs_on_device, factorise_on_device

    moments, tokens = _moments(weight, hessian, inputs, add_inputs_on_device)
    factor = factorise_on_device(moments, settings, tokens)
    return solve(weight, factor, settings).on_cpu()


def as_tensor(values: Matrix, name: str) -> Tensor:
    """A torch tensor of floats with at least two dimensions, without a copy where there need be none.

    Raises:
        ValueError: of another type, or shape.
    """
    import torch

    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    if not tensor.is_floating_point() or tensor.dim() < 2:
        raise ValueError(f"the {name} must be a matrix of floats, and is {tuple(tensor.shape)} of {tensor.dtype}")
    return tensor.detach()


def _moments(
    weight: Tensor, hessian: Matrix | None, inputs: Matrix | None, add: Callable[[Tensor, Tensor], None]
) -> tuple[Tensor, int | None]:
    """A Hessian beside the weight that may be used up, and the number of tokens in it where that is known."""
    import torch

    width = weight.shape[1]
    if inputs is None:
        assert hessian is not None
        given = as_tensor(hessian, "Hessian")
        if given.shape != (width, width):
            raise ValueError(f"a Hessian {tuple(given.shape)} does not fit {width} inputs")
        if (given.diagonal() < 0).any() or (given.diagonal().isfinite().all() and not _upper_is_finite(given)):
            raise ValueError("a Hessian is X^T X of finite inputs: finite, and nowhere negative on its diagonal")
        return given.to(weight.device, torch.float32, copy=True), None
    flat = as_tensor(inputs, "inputs")
    if flat.shape[-1] != width:
        raise ValueError(f"inputs {tuple(flat.shape)} do not fit {width} columns of the weight")
    moments = new_hessian(width).to(weight.device)
    add(moments, flat.to(weight.device))
    return moments, flat.numel() // width


def _upper_is_finite(matrix: Tensor) -> bool:
    """Of the upper triangle, some rows at a time. (A diagonal that is not finite is told of by ``factorise``.)"""
    return all(bool(matrix[first : first + ROWS].triu(first).isfinite().all()) for first in range(0, len(matrix), ROWS))


def quantize(weight: Tensor, factor: Factor, settings: GptqSettings, workers: Workers) -> GptqResult:
    """Quantize one layer, given the factor of its Hessian.

    Args:
        weight: ``(out, in)``, float.
        factor: of the layer's damped Hessian; layers that read the same inputs share it. Its order is followed:
            ``desc_act`` and ``damp`` of the settings are the factorisation's affair.
        settings: bits, groups and scales.
        workers: to do it on.

    Raises:
        WorkbenchError: a weight is not finite, or too large for float16 scales.
        ValueError: the factor is of another number of inputs.
    """
    rows, columns = weight.shape
    if columns != len(factor.order):
        raise ValueError(f"a weight of {columns} columns and a factor of {len(factor.order)} do not fit")
    every = max(1, rows // ERROR_ROWS)
    parts = [slice(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS)]
    pieces = list(workers.map(lambda part: Piece(weight[part], factor, settings, every).round(), parts))
    damage, whole = (sum(piece.sums[which] for piece in pieces) for which in (0, 1))
    order = factor.order.numpy()
    place = np.argsort(order)  # where in the order each original column was
    codes = np.empty((rows, columns), np.uint8)
    for part, piece in zip(parts, pieces, strict=True):
        codes[part] = piece.codes
    scales = np.concatenate([piece.scales for piece in pieces])
    known = whole > 0 and not _all_zero(factor)
    return GptqResult(
        codes,
        scales,
        np.concatenate([piece.zeros for piece in pieces]),
        groups_in_order(order, settings)[place].astype(np.int32),
        float(np.sqrt(max(damage, 0.0) / whole)) if known else 0.0,
        factor.damp,
        settings.bits,
        factor.notes + notes_on_scales(scales),
    )


def _all_zero(factor: Factor) -> bool:
    """Whether no input was ever other than zero: the factor then holds nothing but what was added to the diagonal.

    (An input that was has in its place on U's diagonal at least its own moment, if those behind it were all zero.)
    """
    return bool((factor.upper.diagonal().double().square() <= factor.added * (1 + 1e-5)).all())
