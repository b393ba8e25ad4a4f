"""Q6_K and Q3_K: ``w = scale * code`` with signed codes, a scale for 16 weights.

The scale starts from the weight of largest magnitude, which gets the most negative code (there is one more below
zero than above). Q6_K then tries 18 neighbouring scales and keeps the one whose least-squares fit explains most of
the weights' energy (``make_qx_quants``). Q3_K descends by coordinates: one code after another moves to its best
value given all the others, at most five times round (``make_q3_quants``). The 16 scales of a super-block of
256 weights are rounded to 8 (Q3_K: 6) signed bits against the largest, and the weights once more against what is left.

Source: ``quantize_row_q6_K_ref``, ``quantize_row_q3_K_ref`` in ggml-quants.c (ggml-org/llama.cpp); the
operations and their order are theirs, the arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
    compiled,
    load,
    spread,
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
    largest,
    nearest,
    of_half,
    put_half,
    signed_byte,
    to_columns,
)

BLOCK, GROUP, GROUPS = 256, 16, 16
_NOTHING = np.float32(1e-15)  # ggml's GROUP_MAX_EPS: groups below it are zero

# Most negative code times the trial factors 1 +- 0.1 k / 32, in ggml's float32.
TRIALS_Q6_K = np.array(
    [-(np.float32(32) + np.float32(0.1) * np.float32(k)) for k in range(-9, 10) if k != 0], dtype=np.float32
)


@compiled
def _energies(columns: Floats, first: int, weights: Floats, inverse: Lanes) -> Any:
    """``sum w x l`` and ``sum w l l`` over a group, for the codes l of one inverse scale; w is x squared."""
    sum_lx = sum_l2 = spread(0.0)
    for i in range(GROUP):
        x = load(columns, LANES * (first + i))
        code = to_floats(clamp(nearest(inverse * x), -32, 31))
        sum_lx += load(weights, 2 * LANES * i + LANES) * code
        sum_l2 += (load(weights, 2 * LANES * i) * code) * code
    return sum_lx, sum_l2


@compiled
def _fit_q6_k(columns: Floats, first: int, trials: Floats, weights: Floats) -> Any:
    """Scale of one group in each of sixteen blocks, and the inverse that makes its codes."""
    for i in range(GROUP):
        x = load(columns, LANES * (first + i))
        store(weights, 2 * LANES * i, x * x)
        store(weights, 2 * LANES * i + LANES, (x * x) * x)
    extreme, size = largest(columns, first, GROUP)
    codes_from = np.float32(-32.0) / extreme
    sum_lx, sum_l2 = _energies(columns, first, weights, codes_from)
    scale = where(sum_l2 != 0.0, sum_lx / sum_l2, 0.0)
    best = scale * sum_lx
    for trial in range(len(trials)):
        inverse = trials[trial] / extreme
        sum_lx, sum_l2 = _energies(columns, first, weights, inverse)
        better = (sum_l2 > 0.0) & (sum_lx * sum_lx > best * sum_l2)
        scale = where(better, sum_lx / sum_l2, scale)
        best = where(better, scale * sum_lx, best)
        codes_from = where(better, inverse, codes_from)
    nothing = size < _NOTHING
    return where(nothing, 0.0, scale), where(nothing, 0.0, codes_from)


@compiled
def _round_scales_q6_k(scales: Floats, head: Bytes, steps: Floats) -> Lanes:
    """Eight bits for each scale into ``head`` (16 rows, then d); returns where the whole block is nothing."""
    extreme, size = largest(scales, 0, GROUPS)
    inverse = np.float32(-128.0) / extreme
    d = half_bits(np.float32(1.0) / inverse)
    nothing = size < _NOTHING
    put_half(head, GROUPS, where(nothing, 0, d))
    for j in range(GROUPS):
        code = nearest(inverse * load(scales, LANES * j))
        code = signed_byte(where(code > 127, 127, code))
        store(head, LANES * j, where(nothing, 0, code))
        store(steps, LANES * j, of_half(d) * to_floats(code))
    return nothing


@compiled
def _final_codes_q6_k(tile: Floats, lane: int, group: int, steps: Floats, inverses: Floats) -> Lanes:
    """Codes of one group of one block, 0 to 63; the search's own where nothing is left of the scale."""
    x = load(tile, BLOCK * lane + GROUP * group)
    step, inverse = steps[LANES * group + lane], inverses[LANES * group + lane]
    if step != 0.0:
        return clamp(nearest(x / step), -32, 31) + 32
    if inverse == 0.0:  # a group of nothing: ggml leaves its codes at zero
        return spread(0)
    return clamp(nearest(inverse * x), -32, 31) + 32


@compiled
def quantize_q6_k(source: Bytes, kind: int, out: Bytes, trials: Floats) -> bool:
    """256 weights into 128 bytes of low fours, 64 of high twos, 16 scales and their factor."""
    blocks = len(out) // 210
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    weights, scales, inverses, steps = [np.empty(LANES * 2 * GROUP, np.float32) for _ in range(4)]
    head, nothing = np.empty(LANES * 18, np.uint8), np.empty(LANES, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        for j in range(GROUPS):
            scale, inverse = _fit_q6_k(columns, GROUP * j, trials, weights)
            store(scales, LANES * j, scale)
            store(inverses, LANES * j, inverse)
        store(nothing, 0, where(_round_scales_q6_k(scales, head, steps), spread(1), 0))
        for lane in range(count):
            at = 210 * (block + lane)
            copy_head(head, lane, 18, out, at + 192)
            if nothing[lane]:
                out[at : at + 192] = 0
                continue
            for half in range(2):
                for part in range(2):
                    j = 8 * half + part  # first of the four groups that share bytes
                    codes = (
                        _final_codes_q6_k(tile, lane, j, steps, inverses),
                        _final_codes_q6_k(tile, lane, j + 2, steps, inverses),
                        _final_codes_q6_k(tile, lane, j + 4, steps, inverses),
                        _final_codes_q6_k(tile, lane, j + 6, steps, inverses),
                    )
                    low = at + 64 * half + GROUP * part
                    store(out, low, (codes[0] & 15) | ((codes[2] & 15) << 4))
                    store(out, low + 32, (codes[1] & 15) | ((codes[3] & 15) << 4))
                    high = (codes[0] >> 4) | ((codes[1] >> 4) << 2) | ((codes[2] >> 4) << 4) | ((codes[3] >> 4) << 6)
                    store(out, at + 128 + 32 * half + GROUP * part, high)
    return finite
