"""The search that Q4_K, Q5_K and Q2_K share: ``w = scale * code - minimum`` for a group of 32 or 16 weights.

For each group ggml tries a row of inverse scales. Each trial rounds the weights to codes, then solves the weighted
least-squares problem of scale and minimum for these codes in closed form; the trial with the smallest weighted error
wins (``make_qkx2_quants``). The best minimum so far is what the next trial subtracts, so the trials of one group cannot
be reordered; but groups do not know of one another, and sixteen blocks run side by side.

Codes are not kept: the inverse scale and the minimum that made the best ones make them again in the rare case that
they are wanted, when the group's scale is rounded to zero.

Source: ``make_qkx2_quants`` in ggml-quants.c (ggml-org/llama.cpp); the operations and their order are its,
the arrangement is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.kernels._ggml_lanes import LANES, Lanes, absolute, compiled, load, spread, store, to_floats, where
from workbench.kernels._ggml_tiles import Floats, clamp, nearest


def numerators_from(first: float, count: int, top: int) -> Floats:
    """Inverse scales to try, times the range of the weights: steps of 0.1 in ggml's float32 arithmetic."""
    steps = np.float32(0.1) * np.arange(count, dtype=np.float32)
    return (np.float32(first) + steps) + np.float32(top)


@compiled
def fit(columns: Floats, span: Any, grid: Any, work: Any, found: Any, group: int) -> None:
    """Scale and minimum of one group in each of sixteen blocks.

    Args:
        columns: the tile, transposed.
        span: first weight of the group in its block, and one past the last.
        grid: numerators of the trials, largest code, whether errors count by magnitude instead of square.
        work: importance of each weight of the group, and as much space for codes.
        found: receives scale, minimum (negated, as ggml stores it), and the inverse scale and the minimum that
            make the codes.
        group: where in ``found``.
    """
    numerators, top, by_magnitude = grid
    low, high, sum_w, sum_x = _sums(columns, span, work[0])
    flat = high == low
    inverse = np.float32(top) / (high - low)
    scale, minimum = np.float32(1.0) / inverse, low
    _moments(columns, span, work, top, (inverse, low))
    best = _error(columns, span, work, by_magnitude, (scale, low))
    codes_from = inverse, low
    for trial in range(len(numerators)):
        inverse = numerators[trial] / (high - minimum)
        sum_l, sum_l2, sum_xl = _moments(columns, span, work, top, (inverse, minimum))
        determinant = sum_w * sum_l2 - sum_l * sum_l
        this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        this_minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        positive = this_minimum > 0.0
        this_minimum = where(positive, 0.0, this_minimum)
        this_scale = where(positive, sum_xl / sum_l2, this_scale)
        error = _error(columns, span, work, by_magnitude, (this_scale, this_minimum))
        better = (determinant > 0.0) & (error < best)
        best = where(better, error, best)
        codes_from = where(better, inverse, codes_from[0]), where(better, minimum, codes_from[1])
        scale, minimum = where(better, this_scale, scale), where(better, this_minimum, minimum)
    store(found[0], LANES * group, where(flat, 0.0, scale))
    store(found[1], LANES * group, -1.0 * where(flat, low, minimum))
    store(found[2], LANES * group, where(flat, 0.0, codes_from[0]))
    store(found[3], LANES * group, codes_from[1])


@compiled
def _sums(columns: Floats, span: Any, weights: Floats) -> Any:
    """Smallest (at most zero) and largest of a group, sum of importances and of weights by importance."""
    first, last = span
    low = high = load(columns, LANES * first)
    sum_w = load(weights, 0)
    sum_x = sum_w * low
    for i in range(first + 1, last):
        x, w = load(columns, LANES * i), load(weights, LANES * (i - first))
        low, high = where(x < low, x, low), where(x > high, x, high)
        sum_w += w
        sum_x += w * x
    return where(low > 0.0, 0.0, low), high, sum_w, sum_x


@compiled
def _moments(columns: Floats, span: Any, work: Any, top: int, trial: Any) -> Any:
    """Round to codes; sums of code, its square, and its product with the weight, by importance."""
    first, last = span
    weights, codes = work
    inverse, minimum = trial
    sum_l = sum_l2 = sum_xl = spread(0.0)
    for i in range(first, last):
        x = load(columns, LANES * i)
        code = to_floats(clamp(nearest(inverse * (x - minimum)), 0, top))
        store(codes, LANES * (i - first), code)
        wl = load(weights, LANES * (i - first)) * code
        sum_l += wl
        sum_l2 += wl * code
        sum_xl += wl * x
    return sum_l, sum_l2, sum_xl


@compiled
def _error(columns: Floats, span: Any, work: Any, by_magnitude: bool, solution: Any) -> Lanes:
    """What the codes miss by, by importance."""
    first, last = span
    weights, codes = work
    scale, minimum = solution
    error = spread(0.0)
    for i in range(first, last):
        off = (scale * load(codes, LANES * (i - first)) + minimum) - load(columns, LANES * i)
        off = absolute(off) if by_magnitude else off * off
        error += load(weights, LANES * (i - first)) * off
    return error


@compiled
def largest_positive(values: Floats) -> Lanes:
    """The largest of each lane, zero where none is positive."""
    top = spread(0.0)
    for i in range(0, len(values), LANES):
        value = load(values, i)
        top = where(value > top, value, top)
    return top


@compiled
def final_codes(tile: Floats, at: int, rounded: Any, found: Any, k: int, top: int) -> Lanes:
    """Codes of sixteen neighbours against the rounded scale and minimum; the search's own for a scale of zero.

    Args:
        tile: weights in the order of memory.
        at: the first of the neighbours.
        rounded: scales and minima that the integers of the block stand for.
        found: as ``fit`` left it.
        k: where in these arrays.
        top: largest code.
    """
    x = load(tile, at)
    if rounded[0][k] != 0.0:
        return clamp(nearest((x + rounded[1][k]) / rounded[0][k]), 0, top)
    return clamp(nearest(found[2][k] * (x - found[3][k])), 0, top)
