"""How often to time a thing: warm up, then repeat until the median is known well enough or the time is spent.

The first calls pay for what later ones find ready (pages, caches, compiled kernels), so they are not counted. How well
the median of n repeats is known, order statistics tell without any assumption on the distribution: the number of
repeats below the true median is binomial(n, 1/2), so it lies between the k-th smallest and the k-th largest with a
probability that is a sum of binomial terms (David & Nagaraja, Order Statistics, 2003, section 7.1).

    rule = Repeats(least=5, most=30, seconds=2.0, half_width=0.02)
    timings = timed(lambda: session.time_one(prompt, 64), rule)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.measure import percentile
from workbench.runtimes.base import Timing

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Repeats:
    """When to stop.

    Attributes:
        warmups: calls that are not counted.
        least: repeats in any case.
        most: repeats at most.
        seconds: for the repeats; no new one begins later, once there are ``least``.
        half_width: relative half-width of the interval of the median of ``Timing.total_s`` that is enough.
    """

    warmups: int = 1
    least: int = 5
    most: int = 30
    seconds: float = 2.0
    half_width: float = 0.02


def timed(call: Callable[[], Timing], rule: Repeats) -> list[Timing]:
    """The timings of repeated calls, the warm-up left out."""
    for _ in range(rule.warmups):
        call()
    started = time.perf_counter()
    timings: list[Timing] = []
    while len(timings) < rule.most:
        if len(timings) >= rule.least:
            if time.perf_counter() - started >= rule.seconds:
                break
            if relative_half_width([one.total_s for one in timings]) <= rule.half_width:
                break
        timings.append(call())
    return timings


def relative_half_width(values: Sequence[float]) -> float:
    """Half the width of the median's interval over the median; infinite where there are too few values for one."""
    low, high = median_interval(values)
    return (high - low) / 2 / percentile(list(values), 0.5)


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the median, at least so confident, whatever the distribution.

    Args:
        values: independent repeats; six are the fewest that have an interval of 95%.
        confidence: of the interval.

    Returns:
        The k-th smallest and k-th largest value; minus and plus infinity where there are too few.
    """
    ordered, count = sorted(values), len(values)
    below = 0.0  # probability that fewer than k values lie below the median
    best = -1
    for k in range(count // 2):
        below += math.comb(count, k) / 2**count
        if 1 - 2 * below < confidence:
            break
        best = k
    return (ordered[best], ordered[count - 1 - best]) if best >= 0 else (-math.inf, math.inf)
