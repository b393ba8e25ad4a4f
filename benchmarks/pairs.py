"""Two ways to do one thing, timed in turn: ours, the peer's, the peer's, ours ...

A machine that grows busy or hot slows both alike, so the quotient of two neighbours is steadier than either. Of the
quotients the median is told, with an interval that assumes nothing about how times are spread: the k-th smallest and
the k-th largest of n quotients enclose the true median unless fewer than k of n fair coins show heads, or tails (the
sign test's interval). The extremes of five enclose it 94 times in 100; of fewer no interval is told.

pytest-benchmark times what it calls. What was timed already, here or inside another process, reaches its tables
and files through a timer of our own that shows those seconds:

    @pytest.mark.benchmark(timer=replayed)
    def test_it(benchmark):
        replay(benchmark, [0.31, 0.29, 0.30])
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from workbench.repeats import median_interval

SIDES = ("ours", "peer")
COVERAGE = 0.9
_shown_s = [0.0]


@dataclass(frozen=True)
class Pair:
    """What was timed: seconds of each round, ours and the peer's beside it.

    Attributes:
        peer: its name and version.
        ours_s: seconds of each round.
        peer_s: the same of the peer.
        info: what else is worth keeping, such as sizes.
    """

    peer: str
    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def times_faster(self) -> tuple[float, float | None, float | None]:
        """The peer's seconds over ours: median, and the ends of its interval where the rounds suffice."""
        quotients = [theirs / ours for ours, theirs in zip(self.ours_s, self.peer_s, strict=True)]
        return (median(quotients), *(interval_of(quotients) or (None, None)))


def in_turn(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[tuple[float, ...], ...]:
    """Seconds of each, after a round of warm-up; who goes first changes with each round.

    Args:
        ours: does the work once and returns its seconds.
        peer: likewise.
        rounds: that count; a single one goes without warm-up, to see that all works.
    """
    if rounds > 1:
        ours(), peer()
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            seconds[side].append((ours, peer)[side]())
    return tuple(map(tuple, seconds))


def seconds_of(work: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> Callable[[], float]:
    """The work with a stopwatch; ``before`` is done each time and not counted."""

    def timed() -> float:
        before()
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return timed


def interval_of(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the true median lies with at least ``COVERAGE``, by the sign test; ``None`` for fewer than five values."""
    low, high = median_interval(values, COVERAGE)
    return (low, high) if math.isfinite(low) else None


def replayed() -> float:
    """The timer of benchmarks whose seconds were measured already."""
    return _shown_s[0]


def replay(benchmark: Any, seconds: Sequence[float]) -> None:
    """Give pytest-benchmark rounds that took so many seconds each; the test's marker names the timer ``replayed``."""
    left = iter(seconds)

    def pass_time() -> None:
        _shown_s[0] += next(left)

    benchmark.pedantic(pass_time, rounds=len(seconds))


def show(benchmark: Any, pair: Pair, side: str) -> None:
    """One side of a pair as a benchmark; both carry the ratio, of which ``ratios.py`` makes a line."""
    ratio = dict(zip(("times_faster", "times_faster_low", "times_faster_high"), pair.times_faster, strict=True))
    benchmark.extra_info.update(pair.info, peer=pair.peer, side=side, **ratio)
    replay(benchmark, pair.ours_s if side == "ours" else pair.peer_s)
