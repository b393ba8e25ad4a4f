"""The bytes of torchao's int8 weights: one scale for each row, no zero point.

A row's weights become whole steps of its scale, and 255 steps span twice the row's largest magnitude:

    scale = max(f16(max|w| / 127.5), 2^-23)
    code  = clamp(rint(w * (1 / scale)), -128, 127)

Weights and scale are float16. Then torchao widens the scale to float32 and multiplies the weights by its reciprocal
in float32, halves to even; dividing by the scale instead would now and then fall on the other side of a half.
2^-23 is float32's step at 1, whatever the weights' type. The row's largest weight lies about 127.5 steps from
zero, and is cut where it rounds to a code beyond the last.

torchao makes a float32 copy of the rows for most of these operations. Here two loops read the 16 bits and write only
the codes. The first looks for the largest bits without the sign, since finite float16 numbers of one sign are ordered
as their bits are. The second widens a number by moving its bits, exactly, because numba knows no float16 on
processors. The compiler turns both into vector instructions: nothing in them depends on the order, and no products
are fused into sums.

Source: torchao 0.18, ``_choose_qparams_affine`` and ``_quantize_affine_no_dtype_cast`` in
quantization/quant_primitives.py as ``Int8Tensor.from_hp`` (quantization/quantize_/workflows/int8/int8_tensor.py) calls
them for ``Int8WeightOnlyConfig(version=2)``. All its results, for each of the 31,744 largest magnitudes a row can have
and every weight up to that, were compared once; ``tests/kernels/test_int8_rows.py`` keeps a part of that.

Example::

    codes, scales, zero_points = quantize(weight)
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept

STEPS = np.float16(127.5)
SMALLEST_SCALE = np.float16(2**-23)
LOWEST, HIGHEST = np.float32(-128), np.float32(127)
# float16: 5 bits of exponent, counted from -15, and 10 of fraction; float32: 8, counted from -127, and 23.
MAGNITUDE = np.uint16(0x7FFF)
SMALLEST_NORMAL = np.uint32(1 << 10)
SUBNORMAL_STEP = np.float32(2**-24)
EXTRA_FRACTION_BITS = np.uint32(23 - 10)
EXTRA_EXPONENT = np.uint32((127 - 15) << 23)
# There are no NaNs to look after, and a zero's sign never reaches a code.
_FINITE = {"nnan", "nsz"}


def quantize(weight: NDArray[np.float16]) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int8]]:
    """Quantize the rows of a matrix as torchao does; in one thread, without the interpreter's lock.

    Args:
        weight: ``(rows, width)``, finite.

    Returns:
        Codes ``(rows, width)``, scales ``(rows, 1)`` and zero points ``(rows, 1)``, which are all 0. torchao itself
        fails on several rows of width 1.
    """
    bits = np.ascontiguousarray(weight).view(np.uint16)
    peaks, codes = np.empty((len(bits), 1), np.uint16), np.empty(bits.shape, np.int8)
    _find_peaks(bits, peaks)
    scales = np.maximum(peaks.view(np.float16) / STEPS, SMALLEST_SCALE).astype(np.float32)
    _round(bits, np.float32(1) / scales, codes)
    return codes, scales, np.zeros(scales.shape, np.int8)


@compile_kept
def _find_peaks(bits: NDArray[np.uint16], peaks: NDArray[np.uint16]) -> None:
    """The largest magnitude of each row, as bits."""
    for row in range(len(bits)):
        values = bits[row]
        peak = np.uint16(0)
        for column in range(len(values)):
            peak = max(peak, np.uint16(values[column] & MAGNITUDE))
        peaks[row, 0] = peak


@partial(compile_kept, fastmath=_FINITE)
def _round(bits: NDArray[np.uint16], factors: NDArray[np.float32], codes: NDArray[np.int8]) -> None:
    """Multiply each row by its factor and round."""
    for row in range(len(bits)):
        values, factor, target = bits[row], factors[row, 0], codes[row]
        for column in range(len(values)):
            steps = np.rint(_widened(values[column]) * factor)
            target[column] = np.int8(np.int32(min(max(steps, LOWEST), HIGHEST)))


@partial(compile_kept, fastmath=_FINITE)
def _widened(half: np.uint16) -> np.float32:
    """The float32 of the same value as a finite float16's bits."""
    magnitude = np.uint32(half & MAGNITUDE)
    normal = np.uint32((magnitude << EXTRA_FRACTION_BITS) + EXTRA_EXPONENT).view(np.float32)
    value = normal if magnitude >= SMALLEST_NORMAL else np.float32(np.int32(magnitude)) * SUBNORMAL_STEP
    return -value if half > MAGNITUDE else value
