"""Q2_K: ``w = scale * code - minimum`` with codes from 0 to 3, a scale and a minimum for 16 weights.

The search is that of Q4_K, with errors counted by magnitude and each weight as important as it is large. Scale and
minimum get four bits each and share a byte; four codes share another.

Source: ``quantize_row_q2_K_ref`` in ggml-quants.c (ggml-org/llama.cpp); the operations and their order are its,
the arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_affine import final_codes, fit, largest_positive, numerators_from
from workbench.kernels._ggml_lanes import LANES, absolute, compiled, kernel, load, store, to_floats, where
from workbench.kernels._ggml_tiles import (
    Bytes,
    Floats,
    copy_head,
    fill,
    four_twos,
    half_bits,
    nearest,
    of_half,
    put_half,
    to_columns,
)

BLOCK, GROUP, GROUPS, SIZE, TOP = 256, 16, 16, 84, 3
NUMERATORS = numerators_from(-0.5, 16, TOP)


@compiled
def _factor(values: Floats, head: Bytes, at: int) -> Any:
    """The largest over 15 in half precision, into ``head``; returns it as stored, and 15 over the largest."""
    top = largest_positive(values)
    factor = half_bits(top / np.float32(15.0))
    put_half(head, at, factor)
    return of_half(factor), where(top > 0.0, np.float32(15.0) / top, 0.0)


@compiled
def _round_factors(found: Any, head: Bytes, rounded: Any) -> None:
    """Scales and minima of ``found`` in the 20 bytes of ``head``; ``rounded`` gets what these stand for."""
    d, inverse_d = _factor(found[0], head, GROUPS)
    dmin, inverse_dmin = _factor(found[1], head, GROUPS + 2)
    for j in range(GROUPS):
        scale = nearest(inverse_d * load(found[0], LANES * j))
        minimum = nearest(inverse_dmin * load(found[1], LANES * j))
        both = (scale | (minimum << 4)) & 0xFF
        store(head, LANES * j, both)
        store(rounded[0], LANES * j, d * to_floats(both & 15))
        store(rounded[1], LANES * j, dmin * to_floats(both >> 4))


@compiled
def _write_codes(tile: Floats, lane: int, rounded: Any, found: Any, out: Bytes, at: int) -> None:
    """One block's codes from byte ``at`` on, four groups to 16 bytes."""
    for j in (0, 1, 8, 9):  # the first of four groups that share bytes
        i, k = BLOCK * lane + GROUP * j, LANES * j + lane
        first = final_codes(tile, i, rounded, found, k, TOP)
        second = final_codes(tile, i + 2 * GROUP, rounded, found, k + 2 * LANES, TOP)
        third = final_codes(tile, i + 4 * GROUP, rounded, found, k + 4 * LANES, TOP)
        fourth = final_codes(tile, i + 6 * GROUP, rounded, found, k + 6 * LANES, TOP)
        store(out, at + 32 * (j // 8) + GROUP * (j % 8), four_twos(first, second, third, fourth))


@kernel
def quantize_q2_k(source: Bytes, kind: int, out: Bytes, numerators: Floats) -> bool:
    """256 weights into 16 bytes of scales and minima, 64 of codes, two factors; returns whether all are finite."""
    blocks = len(out) // SIZE
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    work = np.empty(LANES * GROUP, np.float32), np.empty(LANES * GROUP, np.float32)
    scales, minima, inverses, floors, steps, offsets = [np.empty(LANES * GROUPS, np.float32) for _ in range(6)]
    found, rounded = (scales, minima, inverses, floors), (steps, offsets)
    head = np.empty(LANES * 20, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        for j in range(GROUPS):
            for i in range(GROUP):
                store(work[0], LANES * i, absolute(load(columns, LANES * (GROUP * j + i))))
            fit(columns, (GROUP * j, GROUP * j + GROUP), (numerators, TOP, True), work, found, j)
        _round_factors(found, head, rounded)
        for lane in range(count):
            at = SIZE * (block + lane)
            copy_head(head[: LANES * GROUPS], lane, GROUPS, out, at)
            _write_codes(tile, lane, rounded, found, out, at + 16)
            copy_head(head[LANES * GROUPS :], lane, 4, out, at + 80)
    return finite
