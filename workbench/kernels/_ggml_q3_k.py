"""Q3_K: ``w = scale * code`` with codes from -4 to 3, a scale for 16 weights.

The weight of largest magnitude starts with code -4. Then ggml descends by coordinates: one code after another moves to
its best value given all the others, at most five times round (``make_q3_quants``). A lane where nothing moves any more
stays as it is while the others go on. The 16 scales of a super-block of 256 weights are rounded to 6 signed bits
against the largest, and the weights once more against what is left of them. Of a code's three bits the lower
two go four to a byte, the upper one eight to a byte.

Source: ``quantize_row_q3_K_ref`` in ggml-quants.c (ggml-org/llama.cpp); the operations and their order are its,
the arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
    any_lane,
    compiled,
    kernel,
    load,
    spread,
    store,
    to_floats,
    where,
)
from workbench.kernels._ggml_tiles import (
    NOTHING,
    Bytes,
    Floats,
    clamp,
    copy_head,
    fill,
    four_twos,
    half_bits,
    largest,
    nearest,
    of_half,
    put_half,
    signed_byte,
    to_columns,
)

BLOCK, GROUP, GROUPS, SIZE = 256, 16, 16, 110
ROUNDS = 5


@compiled
def _fit(columns: Floats, first: int, codes: Floats) -> Lanes:
    """Codes, signed, of one group in each of sixteen blocks; returns the scales."""
    extreme, size = largest(columns, first, GROUP)
    inverse = np.float32(-4.0) / extreme
    sum_lx = sum_l2 = spread(0.0)
    for i in range(first, first + GROUP):
        x = load(columns, LANES * i)
        code = to_floats(clamp(nearest(inverse * x), -4, 3))
        store(codes, LANES * i, code)
        w = x * x
        sum_lx += (w * x) * code
        sum_l2 += (w * code) * code
    for _ in range(ROUNDS):
        sum_lx, sum_l2, moved = _descend(columns, first, codes, sum_lx, sum_l2)
        if not moved:
            break
    nothing = size < NOTHING
    for i in range(first, first + GROUP):  # ggml leaves the codes of nothing at zero, which counts as -4
        store(codes, LANES * i, where(nothing, -4.0, load(codes, LANES * i)))
    return where(nothing, 0.0, where(sum_l2 > 0.0, sum_lx / sum_l2, 0.0))


@compiled
def _descend(columns: Floats, first: int, codes: Floats, sum_lx: Lanes, sum_l2: Lanes) -> Any:
    """Move each code of a group once; returns the sums, and whether some code of some lane moved."""
    moved = False
    for i in range(first, first + GROUP):
        x, code = load(columns, LANES * i), load(codes, LANES * i)
        w = x * x
        rest_lx = sum_lx - (w * x) * code
        rest_l2 = sum_l2 - (w * code) * code
        new = to_floats(clamp(nearest((x * rest_l2) / rest_lx), -4, 3))
        new_lx = rest_lx + (w * x) * new
        new_l2 = rest_l2 + (w * new) * new
        better = (new_lx * new_lx) * sum_l2 > (sum_lx * sum_lx) * new_l2
        moves = (rest_lx > 0.0) & (new != code) & (new_l2 > 0.0) & better
        store(codes, LANES * i, where(moves, new, code))
        sum_lx = where(moves, new_lx, sum_lx)
        sum_l2 = where(moves, new_l2, sum_l2)
        moved |= any_lane(moves)
    return sum_lx, sum_l2, moved


@compiled
def _round_scales(scales: Floats, head: Bytes, steps: Floats) -> None:
    """Six bits for each scale into the 12 bytes of ``head``, then their factor; ``steps`` gets what is left."""
    extreme = largest(scales, 0, GROUPS)[0]
    some = extreme != 0.0
    inverse = np.float32(-32.0) / extreme
    d = where(some, half_bits(np.float32(1.0) / inverse), 0)
    put_half(head, 12, d)
    for j in range(4):
        uppers = spread(0)
        for k in range(4):  # group j + 4 k
            code = _six_bits(scales, j + 4 * k, inverse, some)
            uppers |= (code >> 4) << (2 * k)
            store(steps, LANES * (j + 4 * k), of_half(d) * to_floats(code - 32))
        store(head, LANES * (8 + j), uppers)
    for j in range(8):
        low, high = _six_bits(scales, j, inverse, some), _six_bits(scales, j + 8, inverse, some)
        store(head, LANES * j, (low & 15) | ((high & 15) << 4))


@compiled
def _six_bits(scales: Floats, group: int, inverse: Lanes, some: Lanes) -> Lanes:
    """One scale against the largest, 32 standing for zero; all zero where no group has a scale."""
    code = clamp(signed_byte(nearest(inverse * load(scales, LANES * group))), -32, 31) + 32
    return where(some, code, 0)


@compiled
def _final_codes(tile: Floats, lane: int, group: int, steps: Floats, codes: Floats) -> Lanes:
    """Codes of one group of one block, 0 to 7; the search's own where nothing is left of the scale."""
    at = BLOCK * lane + GROUP * group
    step = steps[LANES * group + lane]
    if step != 0.0:
        return clamp(nearest(load(tile, at) / step), -4, 3) + 4
    for i in range(GROUP):  # the weights themselves are not needed any more
        tile[at + i] = codes[LANES * (GROUP * group + i) + lane]
    return nearest(load(tile, at)) + 4


@compiled
def _write_codes(tile: Floats, lane: int, steps: Floats, codes: Floats, out: Bytes, at: int) -> None:
    """One block's codes from byte ``at`` on: 32 bytes of upper bits, then the lower twos."""
    for part in range(2):
        uppers = spread(0)
        for half in range(2):
            j = 8 * half + part  # the first of four groups that share bytes
            first = _final_codes(tile, lane, j, steps, codes)
            second = _final_codes(tile, lane, j + 2, steps, codes)
            third = _final_codes(tile, lane, j + 4, steps, codes)
            fourth = _final_codes(tile, lane, j + 6, steps, codes)
            store(out, at + 32 + 32 * half + GROUP * part, four_twos(first, second, third, fourth))
            four = (first >> 2) | ((second >> 2) << 1) | ((third >> 2) << 2) | ((fourth >> 2) << 3)
            uppers |= four << (4 * half)
        store(out, at + GROUP * part, uppers)


@kernel
def quantize_q3_k(source: Bytes, kind: int, out: Bytes) -> bool:
    """256 weights into 32 bytes of upper bits, 64 of lower twos, 12 of scales and their factor.

    Returns:
        Whether all weights are finite.
    """
    blocks = len(out) // SIZE
    tile, columns, codes = [np.empty(LANES * BLOCK, np.float32) for _ in range(3)]
    scales, steps = np.empty(LANES * GROUPS, np.float32), np.empty(LANES * GROUPS, np.float32)
    head = np.empty(LANES * 14, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        for j in range(GROUPS):
            store(scales, LANES * j, _fit(columns, GROUP * j, codes))
        _round_scales(scales, head, steps)
        for lane in range(count):
            at = SIZE * (block + lane)
            _write_codes(tile, lane, steps, codes, out, at)
            copy_head(head, lane, 14, out, at + 96)
    return finite
