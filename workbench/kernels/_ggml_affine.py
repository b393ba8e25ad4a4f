"""Q4_K, Q5_K and Q2_K: ``w = scale * code - minimum``, a scale and a minimum for 32 (Q2_K: 16) weights.

For each group ggml tries a row of inverse scales. Each trial rounds the weights to codes, then solves the weighted
least-squares problem of scale and minimum for these codes in closed form; the trial with the smallest weighted error
wins (``make_qkx2_quants``). The best minimum so far is what the next trial subtracts, so the trials of one group cannot
be reordered; but groups do not know of one another, and sixteen blocks run side by side. The scales and minima of a
super-block of 256 weights are then rounded to 6 (Q2_K: 4) bits against the largest of each, which is kept in half
precision, and the weights are rounded once more against what is left of them.

Source: ``quantize_row_q4_K_ref``, ``quantize_row_q5_K_ref``, ``quantize_row_q2_K_ref`` in ggml-quants.c
(ggml-org/llama.cpp); the operations and their order are theirs, the arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
    absolute,
    compiled,
    load,
    spread,
    square_root,
    store,
    to_floats,
    where,
)
from workbench.kernels._ggml_tiles import (
    Bytes,
    Floats,
    clamp,
    copy_head,
    fill,
    half_bits,
    nearest,
    of_half,
    put_half,
    to_columns,
)

BLOCK = 256


def _numerators(first: float, count: int, top: int) -> Floats:
    """Trial inverse scales times the range of the weights, in ggml's float32 steps of 0.1."""
    steps = np.float32(0.1) * np.arange(count, dtype=np.float32)
    return (np.float32(first) + steps) + np.float32(top)


NUMERATORS = {"Q4_K": _numerators(-1.0, 21, 15), "Q5_K": _numerators(-0.5, 16, 31), "Q2_K": _numerators(-0.5, 16, 3)}


@compiled
def _codes(x: Lanes, inverse: Lanes, minimum: Lanes, top: int) -> Lanes:
    """The codes of sixteen weights, as floats."""
    return to_floats(clamp(nearest(inverse * (x - minimum)), 0, top))


@compiled
def _error(columns: Floats, span: Any, weights: Floats, codes: Floats, grid: Any) -> Lanes:
    """Weighted error of the codes of one group."""
    scale, minimum, by_magnitude = grid
    first, last = span
    error = spread(0.0)
    for i in range(first, last):
        off = (scale * load(codes, LANES * (i - first)) + minimum) - load(columns, LANES * i)
        off = absolute(off) if by_magnitude else off * off
        error += load(weights, LANES * (i - first)) * off
    return error


@compiled
def _fit(columns: Floats, span: Any, grid: Any, weights: Floats, codes: Floats) -> Any:
    """Scale and minimum of one group in each of sixteen blocks.

    Args:
        columns: the tile, transposed.
        span: first weight of the group in its block, and one past the last.
        grid: numerators of the trials, largest code, whether errors count by magnitude instead of square.
        weights: importance of each weight of the group.
        codes: scratch.

    Returns:
        scale, minimum (not negated), and the inverse scale and minimum that make the codes.
    """
    first, last = span
    numerators, top, by_magnitude = grid
    low = load(columns, LANES * first)
    high = low
    sum_w = load(weights, 0)
    sum_x = sum_w * low
    for i in range(first + 1, last):
        x = load(columns, LANES * i)
        w = load(weights, LANES * (i - first))
        low = where(x < low, x, low)
        high = where(x > high, x, high)
        sum_w += w
        sum_x += w * x
    low = where(low > 0.0, 0.0, low)
    flat = high == low

    inverse = np.float32(top) / (high - low)
    scale = np.float32(1.0) / inverse
    minimum = low
    for i in range(first, last):
        store(codes, LANES * (i - first), _codes(load(columns, LANES * i), inverse, low, top))
    best = _error(columns, span, weights, codes, (scale, low, by_magnitude))
    codes_from = inverse, low
    for trial in range(len(numerators)):
        inverse = numerators[trial] / (high - minimum)
        sum_l = sum_l2 = sum_xl = spread(0.0)
        for i in range(first, last):
            x = load(columns, LANES * i)
            code = _codes(x, inverse, minimum, top)
            store(codes, LANES * (i - first), code)
            wl = load(weights, LANES * (i - first)) * code
            sum_l += wl
            sum_l2 += wl * code
            sum_xl += wl * x
        determinant = sum_w * sum_l2 - sum_l * sum_l
        this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        this_minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        positive = this_minimum > 0.0
        this_minimum = where(positive, 0.0, this_minimum)
        this_scale = where(positive, sum_xl / sum_l2, this_scale)
        error = _error(columns, span, weights, codes, (this_scale, this_minimum, by_magnitude))
        better = (determinant > 0.0) & (error < best)
        best = where(better, error, best)
        codes_from = where(better, inverse, codes_from[0]), where(better, minimum, codes_from[1])
        scale = where(better, this_scale, scale)
        minimum = where(better, this_minimum, minimum)
    return where(flat, 0.0, scale), where(flat, low, minimum), where(flat, 0.0, codes_from[0]), codes_from[1]


@compiled
def _weigh(columns: Floats, first: int, weights: Floats) -> None:
    """Importance of 32 weights: their magnitude beside the root mean square of all."""
    sum_x2 = spread(0.0)
    for i in range(first, first + 32):
        x = load(columns, LANES * i)
        sum_x2 += x * x
    typical = square_root(sum_x2 / 32.0)
    for i in range(first, first + 32):
        store(weights, LANES * (i - first), typical + absolute(load(columns, LANES * i)))


@compiled
def _round_scales(scales: Floats, minima: Floats, head: Bytes, steps: Floats, offsets: Floats) -> None:
    """Six bits for each of eight scales and minima against the largest.

    Args:
        scales: ``(8, 16)``, flat.
        minima: the same, negated.
        head: receives the 16 bytes of half-precision factors and packed integers, ``(16, 16)``.
        steps: receives the scales that are left.
        offsets: receives the minima that are left, negated.
    """
    largest_scale = largest_minimum = spread(0.0)
    for j in range(8):
        scale, minimum = load(scales, LANES * j), load(minima, LANES * j)
        largest_scale = where(scale > largest_scale, scale, largest_scale)
        largest_minimum = where(minimum > largest_minimum, minimum, largest_minimum)
    inverse_scale = where(largest_scale > 0.0, 63.0 / largest_scale, 0.0)
    inverse_minimum = where(largest_minimum > 0.0, 63.0 / largest_minimum, 0.0)
    d, dmin = half_bits(largest_scale / 63.0), half_bits(largest_minimum / 63.0)
    put_half(head, 0, d)
    put_half(head, 2, dmin)
    for j in range(4):
        s0 = clamp(nearest(inverse_scale * load(scales, LANES * j)) & 0xFF, 0, 63)
        s4 = clamp(nearest(inverse_scale * load(scales, LANES * (j + 4))) & 0xFF, 0, 63)
        m0 = clamp(nearest(inverse_minimum * load(minima, LANES * j)) & 0xFF, 0, 63)
        m4 = clamp(nearest(inverse_minimum * load(minima, LANES * (j + 4))) & 0xFF, 0, 63)
        store(head, LANES * (4 + j), s0 | ((s4 >> 4) << 6))
        store(head, LANES * (8 + j), m0 | ((m4 >> 4) << 6))
        store(head, LANES * (12 + j), (s4 & 15) | ((m4 & 15) << 4))
        store(steps, LANES * j, of_half(d) * to_floats(s0))
        store(steps, LANES * (j + 4), of_half(d) * to_floats(s4))
        store(offsets, LANES * j, of_half(dmin) * to_floats(m0))
        store(offsets, LANES * (j + 4), of_half(dmin) * to_floats(m4))


@compiled
def _final_codes(tile: Floats, at: int, left: Any, found: Any, top: int) -> Lanes:
    """Codes of sixteen neighbours against the rounded scale; the search's own where that is zero."""
    step, offset = left
    x = load(tile, at)
    if step != 0.0:
        return clamp(nearest((x + offset) / step), 0, top)
    inverse, minimum = found
    return clamp(nearest(inverse * (x - minimum)), 0, top)


@compiled
def quantize_32(source: Bytes, kind: int, out: Bytes, numerators: Floats, top: int) -> bool:
    """Q4_K (``top`` 15) and Q5_K (31): 256 weights into 16 bytes of scales, 32 of fifth bits, 128 of fours."""
    size = 144 if top == 15 else 176
    blocks = len(out) // size
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    weights, codes = np.empty(LANES * 32, np.float32), np.empty(LANES * 32, np.float32)
    scales, minima, inverses, floors, steps, offsets = [np.empty(LANES * 8, np.float32) for _ in range(6)]
    head = np.empty(LANES * 16, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        for j in range(8):
            _weigh(columns, 32 * j, weights)
            found = _fit(columns, (32 * j, 32 * j + 32), (numerators, top, False), weights, codes)
            store(scales, LANES * j, found[0])
            store(minima, LANES * j, -1.0 * found[1])
            store(inverses, LANES * j, found[2])
            store(floors, LANES * j, found[3])
        _round_scales(scales, minima, head, steps, offsets)
        for lane in range(count):
            at = size * (block + lane)
            copy_head(head, lane, 16, out, at)
            fours = at + size - 128
            for part in range(0, 32, LANES):
                high = spread(0)
                for pair in range(4):
                    i, k = BLOCK * lane + 64 * pair + part, LANES * 2 * pair + lane
                    even = _final_codes(tile, i, (steps[k], offsets[k]), (inverses[k], floors[k]), top)
                    k += LANES
                    odd = _final_codes(tile, i + 32, (steps[k], offsets[k]), (inverses[k], floors[k]), top)
                    store(out, fours + 32 * pair + part, (even & 15) | ((odd & 15) << 4))
                    high |= ((even >> 4) << (2 * pair)) | ((odd >> 4) << (2 * pair + 1))
                if top == 31:
                    store(out, at + 16 + part, high)
    return finite
