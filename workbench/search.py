"""The largest number that fits: the one search that plans and prompts share.

What fits falls with size: a context of 8,000 tokens fits where one of 8,001 does, never the other way round. So the
border is found by halving, in as many questions as the limit has bits.

    largest(8192, lambda context: model.peak(context) <= usable)
"""

from __future__ import annotations

from collections.abc import Callable


def largest(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to a limit that fits, where every smaller one does; 0 is taken to fit."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
