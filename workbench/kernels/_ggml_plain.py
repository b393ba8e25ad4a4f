"""Q8_0, Q4_0, Q5_0 and Q5_1: one scale for 32 weights, straight from the extremes, no search.

Q8_0 stretches the largest magnitude to 127. Q4_0 and Q5_0 give the weight of largest magnitude the most negative code.
Q5_1 stretches the range from smallest to largest over 32 codes and stores the smallest beside the scale.

Source: ``quantize_row_q8_0_ref``, ``quantize_row_q4_0_ref``, ``quantize_row_q5_0_ref``, ``quantize_row_q5_1_ref``
in ggml-quants.c (ggml-org/llama.cpp); the operations and their order are theirs, the arrangement is not.
"""

from __future__ import annotations

import numpy as np

from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
    bits_of,
    compiled,
    kernel,
    load,
    mask_bits,
    of_bits,
    spread,
    store,
    where,
)
from workbench.kernels._ggml_tiles import (
    Bytes,
    copy_head,
    fill,
    half_bits,
    largest,
    put_half,
    signed_byte,
    to_columns,
    truncated,
)

BLOCK = 32
# The largest float32 below one half: added before truncation it rounds halves away from zero and nothing else up.
_ALMOST_HALF = np.float32(0.49999997)
_FLT_MAX = np.float32(3.4028235e38)


@compiled
def _inverse(scale: Lanes) -> Lanes:
    """1 / scale, zero for zero."""
    return where(scale != 0.0, np.float32(1.0) / scale, 0.0)


@compiled
def _round_away(value: Lanes) -> Lanes:
    """C's ``(int)roundf(value)``: halves go away from zero."""
    sign = bits_of(value) & -0x80000000
    return truncated(value + of_bits(bits_of(spread(_ALMOST_HALF)) | sign))


@kernel
def quantize_q8_0(source: Bytes, kind: int, out: Bytes) -> bool:
    """32 weights into a half-precision scale and 32 signed bytes."""
    blocks = len(out) // 34
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    inverses, head = np.empty(LANES, np.float32), np.empty(LANES * 2, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        scale = largest(columns, 0, BLOCK)[1] / np.float32(127.0)
        put_half(head, 0, half_bits(scale))
        store(inverses, 0, _inverse(scale))
        for lane in range(count):
            at = 34 * (block + lane)
            copy_head(head, lane, 2, out, at)
            for i in range(0, BLOCK, LANES):
                store(out, at + 2 + i, _round_away(load(tile, BLOCK * lane + i) * inverses[lane]))
    return finite


@kernel
def quantize_q4_0(source: Bytes, kind: int, out: Bytes) -> bool:
    """32 weights into a half-precision scale and 16 bytes of fours, the second half of the block on top."""
    blocks = len(out) // 18
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    inverses, head = np.empty(LANES, np.float32), np.empty(LANES * 2, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        scale = largest(columns, 0, BLOCK)[0] / np.float32(-8.0)
        put_half(head, 0, half_bits(scale))
        store(inverses, 0, _inverse(scale))
        for lane in range(count):
            at = 18 * (block + lane)
            copy_head(head, lane, 2, out, at)
            low = _code(load(tile, BLOCK * lane), inverses[lane], 8.5, 15)
            high = _code(load(tile, BLOCK * lane + LANES), inverses[lane], 8.5, 15)
            store(out, at + 2, low | (high << 4))
    return finite


@compiled
def _code(x: Lanes, inverse: float, shift: float, top: int) -> Lanes:
    """The code of a signed type, zero being ``shift`` rounded down; as in ggml only cut from above."""
    code = signed_byte(truncated(x * inverse + shift))
    return where(code > top, top, code)


@compiled
def _put_fives(out: Bytes, at: int, low: Lanes, high: Lanes) -> None:
    """32 codes of five bits: their fifth bits in four bytes, then the fours."""
    for part, codes in enumerate((low, high)):
        fifths = mask_bits((codes & 16) != 0)
        out[at + 2 * part] = fifths & 0xFF
        out[at + 2 * part + 1] = fifths >> 8
    store(out, at + 4, (low & 15) | ((high & 15) << 4))


@kernel
def quantize_q5_0(source: Bytes, kind: int, out: Bytes) -> bool:
    """32 weights into a half-precision scale, 4 bytes of fifth bits and 16 bytes of fours."""
    blocks = len(out) // 22
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    inverses, head = np.empty(LANES, np.float32), np.empty(LANES * 2, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        scale = largest(columns, 0, BLOCK)[0] / np.float32(-16.0)
        put_half(head, 0, half_bits(scale))
        store(inverses, 0, _inverse(scale))
        for lane in range(count):
            at = 22 * (block + lane)
            copy_head(head, lane, 2, out, at)
            low = _code(load(tile, BLOCK * lane), inverses[lane], 16.5, 31)
            high = _code(load(tile, BLOCK * lane + LANES), inverses[lane], 16.5, 31)
            _put_fives(out, at + 2, low, high)
    return finite


@kernel
def quantize_q5_1(source: Bytes, kind: int, out: Bytes) -> bool:
    """32 weights into half-precision scale and minimum, 4 bytes of fifth bits and 16 bytes of fours."""
    blocks = len(out) // 24
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    inverses, minima, head = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES * 4, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        low, high = spread(_FLT_MAX), spread(-_FLT_MAX)
        for i in range(BLOCK):
            x = load(columns, LANES * i)
            low, high = where(x < low, x, low), where(x > high, x, high)
        scale = (high - low) / np.float32(31.0)
        put_half(head, 0, half_bits(scale))
        put_half(head, 2, half_bits(low))
        store(inverses, 0, _inverse(scale))
        store(minima, 0, low)
        for lane in range(count):
            at = 24 * (block + lane)
            copy_head(head, lane, 4, out, at)
            first = truncated((load(tile, BLOCK * lane) - minima[lane]) * inverses[lane] + np.float32(0.5))
            second = truncated((load(tile, BLOCK * lane + LANES) - minima[lane]) * inverses[lane] + np.float32(0.5))
            _put_fives(out, at + 4, first, second)
    return finite
