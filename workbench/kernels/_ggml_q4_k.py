"""Q4_K and Q5_K: ``w = scale * code - minimum``, codes of 4 or 5 bits, a scale and a minimum for 32 weights.

Eight groups make a super-block of 256. Their scales and minima (``_ggml_affine``) are rounded to six bits against the
largest of each, which is kept in half precision; then the weights are rounded once more, against what is left of
them. In a file: the two factors, 12 bytes of six-bit integers, for Q5_K the fifth bits, then the fours, two groups to
32 bytes.

Source: ``quantize_row_q4_K_ref``, ``quantize_row_q5_K_ref`` in ggml-quants.c (ggml-org/llama.cpp); the operations
and their order are theirs, the arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_affine import final_codes, fit, largest_positive, numerators_from
from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
    absolute,
    compiled,
    kernel,
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

BLOCK, GROUP, GROUPS = 256, 32, 8
NUMERATORS_Q4_K, NUMERATORS_Q5_K = numerators_from(-1.0, 21, 15), numerators_from(-0.5, 16, 31)


@compiled
def _weigh(columns: Floats, first: int, weights: Floats) -> None:
    """Importance of each weight of a group: its magnitude beside the root mean square of all."""
    sum_x2 = spread(0.0)
    for i in range(first, first + GROUP):
        x = load(columns, LANES * i)
        sum_x2 += x * x
    typical = square_root(sum_x2 / np.float32(GROUP))
    for i in range(first, first + GROUP):
        store(weights, LANES * (i - first), typical + absolute(load(columns, LANES * i)))


@compiled
def _six_bits(values: Floats, group: int, inverse: Lanes) -> Lanes:
    """One scale or minimum against the largest; ggml takes the low byte before it cuts."""
    return clamp(nearest(inverse * load(values, LANES * group)) & 0xFF, 0, 63)


@compiled
def _factor(values: Floats, head: Bytes, at: int) -> Any:
    """The largest over 63 in half precision, into ``head``; returns it as stored, and 63 over the largest."""
    top = largest_positive(values)
    factor = half_bits(top / np.float32(63.0))
    put_half(head, at, factor)
    return of_half(factor), where(top > 0.0, np.float32(63.0) / top, 0.0)


@compiled
def _round_factors(found: Any, head: Bytes, rounded: Any) -> None:
    """Scales and minima of ``found`` in the 16 bytes of ``head``; ``rounded`` gets what these stand for."""
    d, inverse_d = _factor(found[0], head, 0)
    dmin, inverse_dmin = _factor(found[1], head, 2)
    for j in range(4):
        scale, scale_4 = _six_bits(found[0], j, inverse_d), _six_bits(found[0], j + 4, inverse_d)
        minimum, minimum_4 = _six_bits(found[1], j, inverse_dmin), _six_bits(found[1], j + 4, inverse_dmin)
        store(head, LANES * (4 + j), scale | ((scale_4 >> 4) << 6))
        store(head, LANES * (8 + j), minimum | ((minimum_4 >> 4) << 6))
        store(head, LANES * (12 + j), (scale_4 & 15) | ((minimum_4 & 15) << 4))
        store(rounded[0], LANES * j, d * to_floats(scale))
        store(rounded[0], LANES * (j + 4), d * to_floats(scale_4))
        store(rounded[1], LANES * j, dmin * to_floats(minimum))
        store(rounded[1], LANES * (j + 4), dmin * to_floats(minimum_4))


@compiled
def _write_codes(tile: Floats, lane: int, coding: Any, out: Bytes, at: int) -> None:
    """One block's codes from byte ``at`` on: the fifth bits if codes have one, then the fours."""
    rounded, found, top = coding
    fours = at + 32 if top > 15 else at
    for part in range(0, GROUP, LANES):
        fifths = spread(0)
        for pair in range(4):
            i, k = BLOCK * lane + 64 * pair + part, LANES * 2 * pair + lane
            even = final_codes(tile, i, rounded, found, k, top)
            odd = final_codes(tile, i + GROUP, rounded, found, k + LANES, top)
            store(out, fours + 32 * pair + part, (even & 15) | ((odd & 15) << 4))
            fifths |= ((even >> 4) | ((odd >> 4) << 1)) << (2 * pair)
        if top > 15:
            store(out, at + part, fifths)


@kernel
def quantize_q4_k(source: Bytes, kind: int, out: Bytes, numerators: Floats, top: int) -> bool:
    """Q4_K with ``top`` 15, Q5_K with 31.

    Args:
        source: bytes of the weights.
        kind: what they are, a value of ``SOURCES``.
        out: receives the blocks, 144 or 176 bytes each.
        numerators: trials of the search.
        top: largest code.

    Returns:
        Whether all weights are finite.
    """
    size = 144 if top == 15 else 176
    blocks = len(out) // size
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    work = np.empty(LANES * GROUP, np.float32), np.empty(LANES * GROUP, np.float32)
    scales, minima, inverses, floors, steps, offsets = [np.empty(LANES * GROUPS, np.float32) for _ in range(6)]
    found, rounded = (scales, minima, inverses, floors), (steps, offsets)
    head = np.empty(LANES * 16, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        for j in range(GROUPS):
            _weigh(columns, GROUP * j, work[0])
            fit(columns, (GROUP * j, GROUP * j + GROUP), (numerators, top, False), work, found, j)
        _round_factors(found, head, rounded)
        for lane in range(count):
            at = size * (block + lane)
            copy_head(head, lane, 16, out, at)
            _write_codes(tile, lane, (rounded, found, top), out, at + 16)
    return finite
