"""What this machine can do at the most: the roofs that benchmarks hold their times against (Williams et al. 2009).

Work that reads and writes B bytes and does F operations takes at least max(B / bandwidth, F / peak) seconds. Both
roofs are measured here, in the same run, with code that does nothing else: a copy that no cache holds, and a product of
large matrices by the quickest kernel in torch (``workbench/products.py``). ``share_of_limit`` in a benchmark's
extra_info is that least time over the time it took; at 1 there is nothing left to gain, and beyond 1 is work whose data
stayed in a cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

COPIED = 128 << 20  # bytes, more than caches hold
SIDE = 2048  # of the matrices
TRIES = 5


@dataclass(frozen=True)
class Limits:
    """Measured roofs.

    Attributes:
        core_bytes_per_s: read and written by one core in a second of its own time, both counted.
        flops_per_s: float32 operations of all cores; a multiplication and an addition are two.
    """

    core_bytes_per_s: float
    flops_per_s: float

    def bytes_share(self, moved: float, seconds: float) -> float:
        """Least time to move so many bytes on one core over the time it took."""
        return moved / self.core_bytes_per_s / seconds

    def flops_share(self, operations: float, seconds: float) -> float:
        """Least time of so many operations on all cores over the time it took."""
        return operations / self.flops_per_s / seconds


def measured() -> Limits:
    """The best of a few tries each: a roof is what the machine can do undisturbed."""
    import numpy as np
    import torch

    from workbench.products import multiply

    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    products = (lambda: torch.mm(left, right), lambda: multiply(left, right))
    copy_s = _best(lambda: np.copyto(target, source), time.thread_time)
    product_s = min(_best(product, time.perf_counter) for product in products)
    return Limits(2 * COPIED / copy_s, 2 * SIDE**3 / product_s)


def _best(work: Callable[[], object], clock: Callable[[], float]) -> float:
    seconds = []
    for _ in range(TRIES):
        started = clock()
        work()
        seconds.append(clock() - started)
    return min(seconds)
