"""Weights in blocks of 32 along the input, as onnxruntime's ``MatMulNBits`` reads them.

Each block of a row has a float16 scale ``s`` and its weights are integers ``q`` of 4 or 8 bits: ``w ~ (q - z) s``.
With 4 bits the zero point ``z`` is stored, so that 16 steps span exactly what the block spans (asymmetric: a tenth
less error than the symmetric grid for an eighth of a bit); with 8 bits it is 128 for all (symmetric). Codes,
scales and zero points are bit for bit those of onnxruntime's own quantizer (``quantize_matmul_4bits`` and
``quantize_matmul_8bits``, from onnxruntime/core/mlas/lib/q4_dq.cpp): nearest integer, halves away from zero, on
the scale as it is stored.

Layout of a weight ``[out, in]``: codes uint8 ``[out, blocks, 32 bits / 8]``, two 4-bit codes to a byte, the first in
the low half; scales float16 ``[out, blocks]``; zero points uint8 ``[out, ceil(blocks / 2)]``, packed likewise. So rows
stay rows, and any rows can be made alone.

Example::

    codes, scales, zeros = quantize(torch.randn(8, 64), bits=4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.formats._safetensors import Spec

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 32
_BELOW_HALF = 0.49999997  # the float32 before 0.5: adding it and cutting off rounds halves up and nothing else
_SLICE_ELEMENTS = 1 << 17  # rows worked on at a time, so that what is computed stays in the processor's cache


def block_specs(name: str, rows: int, columns: int, bits: int) -> tuple[Spec, ...]:
    """The stored tensors of a weight ``[rows, columns]``: codes, scales and, with 4 bits, zero points."""
    blocks = -(-columns // BLOCK)
    specs = (
        Spec(f"{name}.codes", "U8", (rows, blocks, BLOCK * bits // 8)),
        Spec(f"{name}.scales", "F16", (rows, blocks)),
    )
    return (*specs, Spec(f"{name}.zeros", "U8", (rows, -(-blocks // 2)))) if bits == 4 else specs


def quantize(weight: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Quantize rows.

    Args:
        weight: ``[rows, columns]``, any float type, finite.
        bits: 4 (asymmetric) or 8 (symmetric).

    Returns:
        Codes, scales and zero points (``None`` with 8 bits) in the layout above.
    """
    import torch

    rows, columns = weight.shape
    blocks = -(-columns // BLOCK)
    codes = torch.empty(rows, blocks, BLOCK * bits // 8, dtype=torch.uint8)
    scales = torch.empty(rows, blocks, dtype=torch.float16)
    zeros = torch.empty(rows, -(-blocks // 2), dtype=torch.uint8) if bits == 4 else None
    step = max(1, _SLICE_ELEMENTS // columns)
    for first in range(0, rows, step):
        part = slice(first, min(first + step, rows))
        padded = torch.nn.functional.pad(weight[part].float(), (0, blocks * BLOCK - columns))
        values = padded.reshape(-1, blocks, BLOCK)
        if zeros is None:
            scales[part] = _symmetric_scales(values)
            offset = torch.full((), 128.0)
        else:
            scales[part], zero = _asymmetric_scales(values)
            zeros[part] = _pack(zero.byte())
            offset = zero[..., None]
        scale = scales[part].float()[..., None]
        integers = _round(values.mul_(torch.where(scale != 0, 1 / scale, 0.0)).add_(offset), (1 << bits) - 1)
        codes[part] = integers if zeros is None else _pack(integers)
    return codes, scales, zeros


def _symmetric_scales(values: Tensor) -> Tensor:
    """Float16 scales that put the value of largest magnitude at -128."""
    import torch

    low, high = values.aminmax(dim=-1)
    return (torch.where(high.abs() > low.abs(), high, low) / -128).half()


def _asymmetric_scales(values: Tensor) -> tuple[Tensor, Tensor]:
    """Float16 scales and whole zero points that span each block and zero in 16 steps."""
    import torch

    low, high = values.aminmax(dim=-1)
    low = low.clamp_(max=0)
    scale = (high.clamp_(min=0) - low) / 15
    zero = torch.where(scale != 0, 0 - low / scale, low)
    return scale.half(), zero.clamp_(0, 15).add_(_BELOW_HALF).trunc_()


def _round(values: Tensor, top: int) -> Tensor:
    """To the nearest integer from 0 to ``top``."""
    return values.clamp_(0, top).add_(_BELOW_HALF).byte()


def _pack(integers: Tensor) -> Tensor:
    """Pairs of 4-bit integers along the last dimension as bytes, the first in the low half; an odd one alone."""
    import torch

    if integers.shape[-1] % 2:
        integers = torch.nn.functional.pad(integers, (0, 1))
    return integers[..., 0::2] | (integers[..., 1::2] << 4)
