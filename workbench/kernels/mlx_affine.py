"""MLX's affine quantization: 2 to 8 bits, one scale and one bias for each group of a row.

A code q stands for ``scale * q + bias``. The end of the group's range that lies farther from zero, the edge, is met
exactly: it becomes the bias, stored without loss because it is a weight. The scale is then moved a little so that
zero falls on a code, too: weights of a trained model crowd around zero. The scale is negative when the edge is the
maximum, so codes always count from the edge inwards.

    scale = max((max - min) / (2^bits - 1), 1e-7), negative unless |min| > |max|
    edge  = min if |min| > |max| else max
    q0    = rint(edge / scale)          (how many steps zero lies from the edge)
    scale = edge / q0, bias = edge      (unless q0 is 0: then the bias is 0)
    code  = clamp(rint((w - bias) / scale), 0, 2^bits - 1)

All of it in float32 with halves rounded to even, whatever the type of the weights; scale and bias are rounded to that
type at the end, after the codes were chosen with the unrounded ones. So computes MLX's CPU backend (0.32), and
these are its bytes. Its Metal kernel rounds halves away from zero and counts 0 as a member of every group, so
``mlx_lm.convert`` on a Mac differs in a few codes, without being better.

Codes are packed into uint32 words, the first in the lowest bits: with 4 or 8 bits and little-endian words that is the
first in the lowest bits of each byte.

Source: github.com/ml-explore/mlx, mlx/backend/cpu/quantized.cpp.

Example::

    codes, scales, biases = quantize(weight, bits=4, group_size=64)
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept

BITS = (4, 8)
GROUP_SIZES = (32, 64, 128)
SMALLEST_STEP = np.float32(1e-7)
# The order of the comparisons does not matter among finite numbers, so many can be made at once; a zero's sign
# never reaches the result.
_ANY_ORDER = {"nnan", "nsz"}


def quantize(
    weight: NDArray[np.float32], bits: int, group_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Quantize rows of a matrix; runs without the interpreter's lock.

    Args:
        weight: ``(rows, columns)``, finite, holding values of the type the weights are stored in.
        bits: 4 or 8.
        group_size: 32, 64 or 128; divides the columns.

    Returns:
        The packed codes as bytes ``(rows, columns * bits / 8)``, and scales and biases ``(rows, groups)``, to be
        rounded to the weights' type.

    Raises:
        ValueError: bits or group size are none of these.
    """
    rows, columns = weight.shape
    if bits not in BITS or group_size not in GROUP_SIZES or columns % group_size:
        raise ValueError(f"{columns} columns cannot be quantized to {bits} bits in groups of {group_size}")
    groups = np.ascontiguousarray(weight).reshape(-1, group_size)
    packed = np.empty((len(groups), group_size * bits // 8), np.uint8)
    scales, biases = np.empty(len(groups), np.float32), np.empty(len(groups), np.float32)
    _quantize_groups(groups, bits, packed, scales, biases)
    shape = (rows, columns // group_size)
    return packed.reshape(rows, -1), scales.reshape(shape), biases.reshape(shape)


def dequantize(
    packed: NDArray[np.uint8], scales: NDArray[np.float32], biases: NDArray[np.float32], bits: int
) -> NDArray[np.float32]:
    """Undo ``quantize`` as far as that goes: ``(rows, columns)``.

    Args:
        packed: bytes ``(rows, columns * bits / 8)``.
        scales: ``(rows, groups)``.
        biases: ``(rows, groups)``.
        bits: 4 or 8.
    """
    codes = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    groups = codes.reshape(*scales.shape, -1).astype(np.float32)
    result: NDArray[np.float32] = (groups * scales[..., None] + biases[..., None]).reshape(len(packed), -1)
    return result


@partial(compile_kept, fastmath=_ANY_ORDER)
def _range(values: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Smallest and largest value."""
    low = high = values[0]
    for value in values:
        low = min(low, value)
        high = max(high, value)
    return low, high


@partial(compile_kept, error_model="numpy")
def _quantize_groups(
    groups: NDArray[np.float32],
    bits: int,
    packed: NDArray[np.uint8],
    scales: NDArray[np.float32],
    biases: NDArray[np.float32],
) -> None:
    """Fill ``packed``, ``scales`` and ``biases`` from ``groups`` ``(groups, group_size)``."""
    size = groups.shape[1]
    top = np.float32((1 << bits) - 1)
    codes = np.empty(size, np.uint8)
    for place in range(len(groups)):
        group = groups[place]
        low, high = _range(group)
        below = abs(low) > abs(high)
        scale = max((high - low) / top, SMALLEST_STEP)
        scale = scale if below else -scale
        edge = low if below else high
        steps = np.rint(edge / scale)
        bias = np.float32(0)
        if steps != 0:
            scale, bias = edge / steps, edge
        target = packed[place] if bits == 8 else codes
        for column in range(size):
            code = np.rint((group[column] - bias) / scale)
            target[column] = np.uint8(min(max(code, np.float32(0)), top))
        if bits == 4:
            for column in range(size // 2):
                packed[place, column] = codes[2 * column] | (codes[2 * column + 1] << np.uint8(4))
        scales[place], biases[place] = scale, bias
