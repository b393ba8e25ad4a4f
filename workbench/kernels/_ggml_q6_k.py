"""Q6_K: ``w = scale * code`` with codes from -32 to 31, a scale for 16 weights.

The weight of largest magnitude starts with code -32 (there is one more code below zero than above). Then ggml tries 18
neighbouring scales and keeps the one whose least-squares fit explains most of the weights' energy
(``make_qx_quants``). The 16 scales of a super-block of 256 weights are rounded to signed bytes against the largest, and
the weights once more against what is left of them. Of a code's six bits the lower four go two to a byte, the upper two
four to a byte.

Source: ``quantize_row_q6_K_ref`` in ggml-quants.c (ggml-org/llama.cpp); the operations and their order are its, the
arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_lanes import (
    LANES,
    Lanes,
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

BLOCK, GROUP, GROUPS, SIZE = 256, 16, 16, 210

# Most negative code times the trial factors 1 +- 0.1 k / 32, in ggml's float32.
TRIALS = np.array(
    [-(np.float32(32) + np.float32(0.1) * np.float32(k)) for k in range(-9, 10) if k != 0], dtype=np.float32
)


@compiled
def _sums(columns: Floats, first: int, energies: Any, inverse: Lanes) -> Any:
    """``sum w x l`` and ``sum w l l`` over a group, for the codes l of one inverse scale; w is x squared."""
    sum_lx = sum_l2 = spread(0.0)
    for i in range(GROUP):
        x = load(columns, LANES * (first + i))
        code = to_floats(clamp(nearest(inverse * x), -32, 31))
        sum_lx += load(energies[1], LANES * i) * code
        sum_l2 += (load(energies[0], LANES * i) * code) * code
    return sum_lx, sum_l2


@compiled
def _fit(columns: Floats, first: int, trials: Floats, energies: Any) -> Any:
    """Scale of one group in each of sixteen blocks, and the inverse that makes its codes."""
    for i in range(GROUP):
        x = load(columns, LANES * (first + i))
        store(energies[0], LANES * i, x * x)
        store(energies[1], LANES * i, (x * x) * x)
    extreme, size = largest(columns, first, GROUP)
    codes_from = np.float32(-32.0) / extreme
    sum_lx, sum_l2 = _sums(columns, first, energies, codes_from)
    scale = where(sum_l2 != 0.0, sum_lx / sum_l2, 0.0)
    best = scale * sum_lx
    for trial in range(len(trials)):
        inverse = trials[trial] / extreme
        sum_lx, sum_l2 = _sums(columns, first, energies, inverse)
        better = (sum_l2 > 0.0) & (sum_lx * sum_lx > best * sum_l2)
        scale = where(better, sum_lx / sum_l2, scale)
        best = where(better, scale * sum_lx, best)
        codes_from = where(better, inverse, codes_from)
    nothing = size < NOTHING
    return where(nothing, 0.0, scale), where(nothing, 0.0, codes_from)


@compiled
def _round_scales(scales: Floats, head: Bytes, steps: Floats) -> Lanes:
    """Eight bits for each scale into ``head`` (16 rows, then d); returns where the whole block is nothing."""
    extreme, size = largest(scales, 0, GROUPS)
    inverse = np.float32(-128.0) / extreme
    d = half_bits(np.float32(1.0) / inverse)
    put_half(head, GROUPS, d)
    for j in range(GROUPS):
        code = nearest(inverse * load(scales, LANES * j))
        code = signed_byte(where(code > 127, 127, code))
        store(head, LANES * j, code)
        store(steps, LANES * j, of_half(d) * to_floats(code))
    return size < NOTHING


@compiled
def _final_codes(tile: Floats, lane: int, group: int, steps: Floats, inverses: Floats) -> Lanes:
    """Codes of one group of one block, 0 to 63; the search's own where nothing is left of the scale."""
    x = load(tile, BLOCK * lane + GROUP * group)
    step, inverse = steps[LANES * group + lane], inverses[LANES * group + lane]
    if step != 0.0:
        return clamp(nearest(x / step), -32, 31) + 32
    if inverse == 0.0:  # a group of nothing: ggml leaves its codes at zero
        return spread(0)
    return clamp(nearest(inverse * x), -32, 31) + 32


@compiled
def _write_codes(tile: Floats, lane: int, steps: Floats, inverses: Floats, out: Bytes, at: int) -> None:
    """One block's codes from byte ``at`` on: 128 bytes of lower fours, 64 of upper twos."""
    for half in range(2):
        for part in range(2):
            j = 8 * half + part  # the first of four groups that share bytes
            first = _final_codes(tile, lane, j, steps, inverses)
            second = _final_codes(tile, lane, j + 2, steps, inverses)
            third = _final_codes(tile, lane, j + 4, steps, inverses)
            fourth = _final_codes(tile, lane, j + 6, steps, inverses)
            low = at + 64 * half + GROUP * part
            store(out, low, (first & 15) | ((third & 15) << 4))
            store(out, low + 32, (second & 15) | ((fourth & 15) << 4))
            upper = four_twos(first >> 4, second >> 4, third >> 4, fourth >> 4)
            store(out, at + 128 + 32 * half + GROUP * part, upper)


@kernel
def quantize_q6_k(source: Bytes, kind: int, out: Bytes, trials: Floats) -> bool:
    """256 weights into 192 bytes of codes, 16 scales and their factor; returns whether all are finite."""
    blocks = len(out) // SIZE
    tile, columns = np.empty(LANES * BLOCK, np.float32), np.empty(LANES * BLOCK, np.float32)
    energies = np.empty(LANES * GROUP, np.float32), np.empty(LANES * GROUP, np.float32)
    scales, inverses, steps = [np.empty(LANES * GROUPS, np.float32) for _ in range(3)]
    head, nothing = np.empty(LANES * 18, np.uint8), np.empty(LANES, np.uint8)
    finite = True
    for block in range(0, blocks, LANES):
        count = min(LANES, blocks - block)
        finite &= fill(tile, source, kind, BLOCK * block, BLOCK * count)
        to_columns(tile, columns)
        for j in range(GROUPS):
            scale, inverse = _fit(columns, GROUP * j, trials, energies)
            store(scales, LANES * j, scale)
            store(inverses, LANES * j, inverse)
        store(nothing, 0, where(_round_scales(scales, head, steps), spread(1), 0))
        for lane in range(count):
            at = SIZE * (block + lane)
            if nothing[lane]:
                out[at : at + SIZE] = 0
            else:
                _write_codes(tile, lane, steps, inverses, out, at)
                copy_head(head, lane, 18, out, at + 192)
    return finite
