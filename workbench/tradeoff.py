"""What accuracy is held against, the artifacts that have both figures, and the Pareto front among them.

The charts of the report's page (``workbench/tradeoff_charts.py``) and the plain pictures (``workbench/plots.py``) show
the same points. An artifact that does not compute what its source does is a point but no part of the front
(``workbench/pareto.py``), for its figures are of something else; one without a finite figure is no point.

    points = tradeoff_points(report, "heldout", MEMORY)
    [point.artifact.recipe for point in tradeoff_front(points, MEMORY)]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.chart_parts import axis_scale, scored
from workbench.measure import Measurement, Score
from workbench.pareto import pareto_front
from workbench.report import ArtifactReport, BuildReport


@dataclass(frozen=True)
class Trade:
    """What accuracy is held against.

    Attributes:
        name: of the measurement.
        title: of the axis, without its unit.
        sign: 1 where less is better, -1 where more is.
    """

    name: str
    title: str
    sign: int


MEMORY = Trade("peak_memory_bytes", "Peak memory", 1)
DECODE = Trade("decode_tokens_per_s", "Decode speed", -1)


@dataclass(frozen=True)
class Point:
    """An artifact with its accuracy on a question set and what that costs."""

    artifact: ArtifactReport
    score: Score
    cost: Measurement

    @property
    def value(self) -> float:
        """Of the cost, in its own unit."""
        return self.cost.value or 0.0

    @property
    def conforms(self) -> bool:
        """Whether the artifact computes what its source does, as far as that was looked at."""
        return bool(self.artifact.conformance.get("passed", True))


def tradeoff_points(report: BuildReport, question_set: str, trade: Trade) -> list[Point]:
    """The artifacts with both figures, in the report's order."""
    return [
        Point(artifact, one.overall, cost)
        for artifact, one in scored(report, question_set)
        if (cost := artifact.measurement(trade.name)) and math.isfinite(cost.value or 0.0) and one.overall.total
    ]


def tradeoff_front(points: Sequence[Point], trade: Trade) -> list[Point]:
    """The points that conform and that no other of these beats in both, from the best cost on."""
    sound = [point for point in points if point.conforms]
    return [sound[at] for at in pareto_front([(trade.sign * point.value, point.score.value) for point in sound])]


def cost_scale(points: Sequence[Point], trade: Trade) -> tuple[float, str]:
    """What the costs are divided by on an axis, and the axis' title with its unit: ``Peak memory (predicted), GiB``."""
    scale, unit = axis_scale([point.value for point in points], points[0].cost.unit)
    predicted = all(point.cost.kind == "predicted" for point in points)
    return scale, f"{trade.title}{' (predicted)' if predicted else ''}, {unit}"
