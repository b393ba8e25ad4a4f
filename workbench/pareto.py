"""The Pareto front: the artifacts that no other one beats in both things a reader has to trade.

A point dominates another when it is no worse in both figures and better in one. What nothing dominates is the front:
there alone is a choice to make (smaller or more accurate), and whatever lies off it can be forgotten.

    pareto_front([(4.0, 0.93), (2.0, 0.91), (3.0, 0.90)])       # [1, 0]: the third is larger and worse than the second
"""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that nothing dominates, from the lowest cost up; equal points are all of the front.

    Args:
        points: (cost, worth) of each: the less cost and the more worth the better. A rate is a cost of ``-rate``.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    front: list[int] = []
    for at in order:
        if not front or points[at][1] > points[front[-1]][1] or points[at] == points[front[-1]]:
            front.append(at)
    return front
