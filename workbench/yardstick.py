"""A fixed piece of work by which to tell whether the machine itself became faster or slower.

Two runs an hour apart find the machine in two states: other tenants, another clock frequency, another temperature. So
each run times the same work that has nothing to do with any model: arithmetic that stays in the cache, and copies that
do not, on as many threads as the engines get. How far two runs' yardsticks lie apart is how far the machine moved.

The work is a few tens of milliseconds, done before each process of a benchmark. It says nothing of an accelerator.

    now = yardstick(threads=2)                  # {"compute_s": 0.011, "memory_s": 0.013}
    allowance(now_medians, earlier_medians)     # 0.04: one of the two moved by 4%
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from workbench.measure import percentile

CACHED = 1 << 14  # float32 values: 64 KiB
LARGE = 1 << 22  # 16 MiB, more than a core's caches hold
REPEATS = 5


def yardstick(threads: int) -> dict[str, float]:
    """Seconds of the arithmetic and of the copies, each the median of a few repeats.

    Args:
        threads: that work at the same time, as an engine's do.
    """
    import numpy as np

    small = [np.linspace(1, 2, CACHED, dtype=np.float32) for _ in range(threads)]
    large = [(np.ones(LARGE, np.float32), np.empty(LARGE, np.float32)) for _ in range(threads)]

    def compute(place: int) -> None:
        out = np.empty_like(small[place])
        for _ in range(3000):
            np.multiply(small[place], small[place], out=out)

    def copy(place: int) -> None:
        source, target = large[place]
        for _ in range(5):
            np.copyto(target, source)

    with ThreadPoolExecutor(threads) as pool:

        def seconds(work: object) -> float:
            started = time.perf_counter()
            list(pool.map(work, range(threads)))  # type: ignore[arg-type]
            return time.perf_counter() - started

        for work in (compute, copy):
            seconds(work)
        return {
            "compute_s": percentile([seconds(compute) for _ in range(REPEATS)], 0.5),
            "memory_s": percentile([seconds(copy) for _ in range(REPEATS)], 0.5),
        }


def allowance(now: Sequence[Mapping[str, float]], before: Sequence[Mapping[str, float]]) -> float:
    """Logarithm of the factor by which the machine moved between two runs, by the part that moved most.

    Args:
        now: a run's yardsticks.
        before: the other's.

    Returns:
        0 where either run has none.
    """
    if not now or not before:
        return 0.0

    def middle(many: Sequence[Mapping[str, float]], name: str) -> float:
        return percentile([one[name] for one in many], 0.5)

    return max(abs(math.log(middle(now, name) / middle(before, name))) for name in ("compute_s", "memory_s"))
