"""What all of ggml's types share: sixteen blocks on the bench, roundings, half precision.

A tile is sixteen blocks of a tensor. It lies there twice: in the order of memory, and transposed into columns
(``columns[16 i + lane]`` is weight i of block ``lane``), so that searches run sixteen blocks abreast while
reading and writing stay contiguous. The last tile of a tensor is filled up with zeros.

Roundings are those of ggml (``nearest_int`` in ggml-quants.c, ``ggml_compute_fp32_to_fp16`` in ggml-impl.h),
bit for bit where they leave their range too: ``nearest`` adds 1.5 * 2^23 so that the sum's own rounding, half
to even, puts the integer into the low bits; beyond 2^22 these bits are something else, and ggml uses them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
    absolute,
    any_lane,
    bits_of,
    compiled,
    load,
    load_floats,
    load_words,
    of_bits,
    spread,
    store,
    to_ints,
    transpose,
    where,
)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SOURCES = {"F32": 0, "F16": 1, "BF16": 2}
_F32, _F16 = SOURCES["F32"], SOURCES["F16"]

NOTHING = np.float32(1e-15)  # ggml's GROUP_MAX_EPS: a group whose largest magnitude is smaller counts as zero

_MAGIC = np.float32(12582912.0)  # 1.5 * 2^23
_TO_INFINITY, _TO_ZERO, _DOWN = np.float32(2.0**112), np.float32(2.0**-110), np.float32(2.0**-112)
_TOO_LARGE = np.float32(2.0**31)


@compiled
def nearest(value: Lanes) -> Lanes:
    """The nearest integer, half to even, as ggml finds it."""
    return (bits_of(value + _MAGIC) & 0x7FFFFF) - 0x400000


@compiled
def clamp(value: Lanes, low: int, high: int) -> Lanes:
    """Between ``low`` and ``high``, both included."""
    value = where(value > high, high, value)
    return where(value < low, low, value)


@compiled
def truncated(value: Lanes) -> Lanes:
    """C's ``(int)`` as x86 does it: towards zero, and -2^31 where no int can hold the value."""
    fits = absolute(value) < _TOO_LARGE
    return where(fits, to_ints(where(fits, value, 0.0)), -0x80000000)


@compiled
def signed_byte(value: Lanes) -> Lanes:
    """C's ``(int8_t)``: the low byte with its sign."""
    return ((value & 0xFF) ^ 0x80) - 0x80


@compiled
def half_bits(value: Lanes) -> Lanes:
    """float32 to the bits of half precision: half to even, subnormals kept, too large becomes infinity."""
    bits = bits_of(value)
    exponent = (bits >> 23) & 0xFF
    base = (absolute(value) * _TO_INFINITY) * _TO_ZERO
    # Adding a power of two with the right exponent rounds away the bits that half precision lacks.
    rounded = bits_of(of_bits((where(exponent > 0x71, exponent, 0x71) + 15) << 23) + base)
    result = ((rounded >> 13) & 0x7C00) + (rounded & 0xFFF)
    return ((bits >> 16) & 0x8000) | where(value != value, 0x7E00, result)  # noqa: PLR0124 - NaN


@compiled
def of_half(half: Lanes) -> Lanes:
    """Bits of half precision to float32, exact."""
    magnitude = half & 0x7FFF
    normal = of_bits((magnitude << 13) + 0x70000000) * _DOWN
    subnormal = of_bits(magnitude | 0x3F000000) - np.float32(0.5)
    return of_bits(bits_of(where(magnitude < 0x400, subnormal, normal)) | ((half & 0x8000) << 16))


@compiled
def fill(tile: Floats, source: Bytes, kind: int, first: int, count: int) -> bool:
    """Widen ``count`` weights (a multiple of 16), from weight ``first`` on, into the tile; zeros behind them.

    Returns:
        Whether all are finite.
    """
    most = spread(0)
    for i in range(0, count, LANES):
        if kind == _F32:
            value = load_floats(source, 4 * (first + i))
        elif kind == _F16:
            value = of_half(load_words(source, 2 * (first + i)))
        else:
            value = of_bits(load_words(source, 2 * (first + i)) << 16)
        store(tile, i, value)
        magnitude = bits_of(value) & 0x7FFFFFFF
        most = where(magnitude > most, magnitude, most)
    tile[count:] = 0.0
    return not any_lane(most >= 0x7F800000)


@compiled
def to_columns(tile: Floats, columns: Floats) -> None:
    """Transpose a tile of sixteen blocks."""
    block = len(tile) // LANES
    for i in range(0, block, LANES):
        transpose(tile, i, block, columns, LANES * i)


@compiled
def put_half(rows: Bytes, at: int, half: Lanes) -> None:
    """Sixteen half-precision numbers into two rows of bytes, the low byte first."""
    store(rows, LANES * at, half)
    store(rows, LANES * (at + 1), half >> 8)


@compiled
def copy_head(rows: Bytes, lane: int, count: int, out: Bytes, at: int) -> None:
    """Collect the ``count`` bytes of one lane into the file's order."""
    for i in range(count):
        out[at + i] = rows[LANES * i + lane]


@compiled
def largest(columns: Floats, at: int, width: int) -> Any:
    """The first weight of largest magnitude in each lane, and this magnitude."""
    found = top = spread(0.0)
    for i in range(at, at + width):
        value = load(columns, LANES * i)
        size = absolute(value)
        found = where(size > top, value, found)
        top = where(size > top, size, top)
    return found, top


@compiled
def four_twos(first: Lanes, second: Lanes, third: Lanes, fourth: Lanes) -> Lanes:
    """The lower two bits of four codes in one byte."""
    return (first & 3) | ((second & 3) << 2) | ((third & 3) << 4) | ((fourth & 3) << 6)
