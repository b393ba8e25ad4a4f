"""Is it a difference, or noise? What repeats of a measurement can and cannot tell.

Repeats inside one process share what was decided when it started: where memory lay, which pages were in the cache, what
the other tenants of the machine did in that minute. They look alike even where a second run would differ (Kalibera &
Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013; Mytkowicz et al., Producing Wrong Data, ASPLOS 2009). So
the unit here is the process: a *series* is, for each of several processes started one after another, the logarithm of
the median of its repeats (logarithms, because noise of time is a factor).

* **Noise floor**: how far two runs of the same thing, each of as many processes, lie apart at most in 95 of 100 cases:
  t x s x sqrt(2/n), s the standard deviation between processes. The A/A difference, between every other process and
  the rest, is one such pair as it was seen.
* **Difference** of two artifacts timed in turn in the same run: a t test on the pairs, so that what changes for both in
  the same minute cancels. Of two runs: Welch's t test; and since no run can know how much the machine itself changed
  between the two, a *yardstick* (``workbench/yardstick.py``) timed in both is allowed for in full.
* Many figures are compared at once, so each p is corrected (Holm 1979): over a whole table of equal things, a
  difference is called in at most 1 of 100 runs. And whatever the test says, none is called inside the noise floor, or
  below 2% (5% between two runs).

    verdicts = holm([compare_runs(now, before, allowance=0.01), ...])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from workbench.measure import percentile

FLOOR_CONFIDENCE = 0.95
FAMILY_ERROR = 0.01
# Below this nothing is called a difference: a change of the environment's size or of a path's length moves speed
# as much (Mytkowicz et al.), and nobody chooses an artifact by it.
LEAST_DIFFERENCE = math.log(1.02)
# Of two runs: a yardstick does not see everything that changed in between (where in memory the pages of a file lie).
LEAST_BETWEEN_RUNS = math.log(1.05)
FEWEST = 2  # processes with which anything can be said


@dataclass(frozen=True)
class Difference:
    """One thing beside another, as a factor.

    Attributes:
        ratio: of the first to the second.
        interval: of the ratio, 99% for this one by itself; what is called has 1 outside.
        p: two-sided, of no difference beyond what is allowed for; 1 where too few processes can tell.
        floor: relative difference that noise alone makes.
        called: whether it is a difference.
    """

    ratio: float
    interval: tuple[float, float]
    p: float
    floor: float
    called: bool = False


def series(processes: Sequence[Sequence[float]]) -> list[float]:
    """Logarithm of each process's median; none of a process without a positive value."""
    medians = (percentile(list(values), 0.5) for values in processes if values)
    return [math.log(value) for value in medians if value > 0]


def noise_floor(logs: Sequence[float]) -> float | None:
    """Relative difference of two runs of as many processes that 95 of 100 pairs stay below.

    Args:
        logs: a series.

    Returns:
        E.g. 0.03 for 3%; ``None`` with fewer than two processes.
    """
    if len(logs) < FEWEST:
        return None
    quantile = t_quantile((1 + FLOOR_CONFIDENCE) / 2, len(logs) - 1)
    return math.expm1(quantile * stdev(logs) * math.sqrt(2 / len(logs)))


def aa_difference(logs: Sequence[float]) -> float | None:
    """Relative difference between every other process and the rest: the same thing measured twice, in turn."""
    if len(logs) < FEWEST:
        return None
    return math.expm1(abs(fmean(logs[::2]) - fmean(logs[1::2])))


def compare_paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Two things timed in turn in one run: the n-th processes of both ran one after the other.

    Args:
        first: a series.
        second: a series of the same rounds.
    """
    gaps = [one - other for one, other in zip(first, second, strict=True)]
    floor = _common_floor(first, second)
    if len(gaps) < FEWEST:
        return Difference(math.exp(fmean(gaps)), (0.0, math.inf), 1.0, floor)
    error = stdev(gaps) / math.sqrt(len(gaps))
    return _difference(fmean(gaps), error, len(gaps) - 1, floor)


def compare_runs(now: Sequence[float], before: Sequence[float], allowance: float = 0.0) -> Difference:
    """The same figure of two runs.

    Args:
        now: a series.
        before: a series.
        allowance: logarithm of the factor by which the machine itself changed between the runs.
    """
    floor = math.expm1(max(LEAST_BETWEEN_RUNS, math.log1p(_common_floor(now, before)) + allowance))
    gap = fmean(now) - fmean(before)
    if min(len(now), len(before)) < FEWEST:
        return Difference(math.exp(gap), (0.0, math.inf), 1.0, floor)
    parts = [stdev(logs) ** 2 / len(logs) for logs in (now, before)]
    error = math.sqrt(sum(parts))
    # Welch-Satterthwaite, rounded down: fewer degrees of freedom are the careful side.
    shares = sum(part**2 / (len(logs) - 1) for part, logs in zip(parts, (now, before), strict=True))
    freedom = math.floor(sum(parts) ** 2 / shares) if shares else len(now) + len(before) - 2
    return _difference(gap, error, max(freedom, 1), floor, allowance)


def _common_floor(first: Sequence[float], second: Sequence[float]) -> float:
    floors = [noise_floor(logs) for logs in (first, second)]
    return max(math.expm1(LEAST_DIFFERENCE), *(floor if floor is not None else math.inf for floor in floors))


def _difference(gap: float, error: float, freedom: int, floor: float, allowance: float = 0.0) -> Difference:
    beyond = max(0.0, abs(gap) - allowance)
    p = t_two_sided(beyond / error, freedom) if error else float(beyond == 0.0)
    reach = t_quantile(1 - FAMILY_ERROR / 2, freedom) * error + allowance
    return Difference(math.exp(gap), (_exp(gap - reach), _exp(gap + reach)), p, floor)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))  # the largest a float can hold


def holm(differences: Sequence[Difference]) -> list[Difference]:
    """Call differences over a whole table: by Holm's correction of their p, and beyond the noise floor.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    result = list(differences)
    order = sorted(range(len(result)), key=lambda place: result[place].p)
    for rank, place in enumerate(order):
        one = result[place]
        if one.p > FAMILY_ERROR / (len(order) - rank):
            break
        result[place] = replace(one, called=abs(math.log(one.ratio)) > math.log1p(one.floor))
    return result


def t_two_sided(t: float, freedom: int) -> float:
    """Probability that Student's t with so many degrees of freedom is at least so far from 0.

    The finite sums of Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    theta = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(theta)
    term = total = cosine if freedom % 2 else 1.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if freedom % 2:
        inside = (2 / math.pi) * (theta + (math.sin(theta) * total if freedom > 1 else 0.0))
    else:
        inside = math.sin(theta) * total
    return min(1.0, max(0.0, 1 - inside))


def t_quantile(share: float, freedom: int) -> float:
    """The value below which Student's t lies with this probability, above 1/2."""
    low, high = 0.0, 1.0
    while 1 - t_two_sided(high, freedom) / 2 < share:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - t_two_sided(middle, freedom) / 2 < share else (low, middle)
    return high
