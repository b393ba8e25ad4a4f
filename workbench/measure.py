"""Measurements and scores: numbers that carry their unit, conditions and origin.

A ``Measurement`` is *measured* (on a named machine) or *predicted* (by a named model); the two
are never mixed, so no report can show a prediction as a fact. A ``Score`` is a proportion with
its Wilson interval (E. B. Wilson, JASA 22, 1927), which stays inside [0, 1] and holds for
small samples, where the textbook normal interval does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["measured", "predicted"]
Z_95 = 1.959963984540054  # the 97.5% quantile of the standard normal distribution


@dataclass(frozen=True)
class Measurement:
    """One number about one artifact.

    Attributes:
        name: metric name with its unit, e.g. ``decode_tokens_per_s``, ``peak_memory_bytes``.
        value: the median where there are repeats; ``None`` when unknown.
        unit: ``s``, ``tokens/s``, ``bytes``, ``bits``.
        kind: ``measured`` or ``predicted``.
        source: the machine it was measured on, or the model that predicted it.
        p95: 95th percentile of the repeats (the bad side: slowest), if any.
        samples: number of repeats behind the value; 0 for a prediction.
        conditions: what was run, e.g. ``{"prompt_tokens": 256, "new_tokens": 64, "device": "cpu"}``.
        p99: 99th percentile of the repeats, likewise on the bad side, if any.
        interval: of a prediction, where nine of ten true values lie; of a measurement, what two runs of the same thing
            give (its noise floor); ``None`` where neither is known.
        values: every repeat, in the order they were measured; none for a prediction.
    """

    name: str
    value: float | None
    unit: str
    kind: Kind
    source: str
    p95: float | None = None
    samples: int = 0
    conditions: dict[str, Any] = field(default_factory=dict)
    p99: float | None = None
    interval: tuple[float, float] | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Score:
    """A proportion of questions with its 95% Wilson interval.

    Attributes:
        name: what was scored, e.g. ``sql_accuracy`` or ``sql_accuracy/category/date``.
        correct: questions answered right.
        total: questions asked.
    """

    name: str
    correct: int
    total: int

    @property
    def value(self) -> float:
        """The proportion, 0 to 1; NaN when nothing was asked."""
        return self.correct / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval as (low, high)."""
        return wilson_interval(self.correct, self.total)


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a binomial proportion; (0, 1) when nothing was asked."""
    if total == 0:
        return 0.0, 1.0
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def percentile(values: list[float], share: float) -> float:
    """Linear-interpolated percentile (numpy's default method) of a non-empty list; ``share`` in 0 to 1."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
