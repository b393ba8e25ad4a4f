"""The charts of accuracy against memory and against speed, with intervals and the Pareto front.

What is measured is a filled marker, what is predicted a hollow one; an artifact that does not compute what its source
does is a cross, and no part of the front (``workbench/pareto.py``), for its figures are of something else.

    chart = tradeoff_chart(report, "heldout", MEMORY)
    chart.figure["data"], chart.grid, chart.alt
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.chart_parts import (
    Chart,
    accuracy_range,
    axis_scale,
    colour,
    error_bars,
    figure,
    plain,
    scored,
    symbol,
    value_axis,
)
from workbench.measure import Measurement, Score
from workbench.pareto import pareto_front
from workbench.report import ArtifactReport, BuildReport
from workbench.report_grids import Cell, Grid, figure_cell, score_cell


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
class _Point:
    artifact: ArtifactReport
    score: Score
    cost: Measurement

    @property
    def value(self) -> float:
        return self.cost.value or 0.0

    @property
    def conforms(self) -> bool:
        return bool(self.artifact.conformance.get("passed", True))


def tradeoff_chart(report: BuildReport, question_set: str, trade: Trade) -> Chart | None:
    """Accuracy against memory or speed with intervals and the Pareto front; ``None`` where no artifact has both."""
    points = [
        _Point(artifact, one.overall, cost)
        for artifact, one in scored(report, question_set)
        if (cost := artifact.measurement(trade.name)) and one.overall.total
    ]
    if not points:
        return None
    sound = [point for point in points if point.conforms]
    front = [sound[at] for at in pareto_front([(trade.sign * point.value, point.score.value) for point in sound])]
    scale, unit = axis_scale([point.value for point in points], points[0].cost.unit)
    predicted = all(point.cost.kind == "predicted" for point in points)
    traces = [
        _front_trace(front, trade, scale),
        *(_point_trace(report, one, one in front, scale) for one in points),
        _names_trace(report, points, front, scale),
    ]
    made = figure(
        traces,
        430,
        showlegend=False,
        xaxis={
            **_cost_axis(points, scale),
            "title": {"text": f"{trade.title}{' (predicted)' if predicted else ''}, {unit}"},
        },
        yaxis={
            "title": {"text": f"Right answers ({plain(question_set)})"},
            "tickformat": ".0%",
            "range": accuracy_range([point.score for point in points]),
            "zeroline": False,
        },
        margin={"l": 64, "r": 24, "t": 16, "b": 52},
    )
    names = ", ".join(point.artifact.recipe for point in front)
    better = "left" if trade.sign > 0 else "right"
    return Chart(
        f"Accuracy against {trade.title.lower()}",
        f"Accuracy on {question_set} against {trade.title.lower()} of {len(points)} artifacts. Pareto front: {names}.",
        made,
        _tradeoff_grid(report, question_set, trade, points, front),
        f"Up and to the {better} is better. Dotted: the Pareto front, what no other artifact beats in both. "
        + _marker_note(points)
        + _left_out(report, question_set, points),
    )


def _cost_axis(points: Sequence[_Point], scale: float) -> dict[str, Any]:
    """Of memory or speed: logarithmic where they lie far apart, else as long as the points with their intervals need.

    It spans a fifth of the largest value at least, for less would make a difference of nothing look like one.
    """
    axis = value_axis([point.value for point in points], scale)
    if axis.get("type") == "log":
        return axis
    ends = [end / scale for point in points for end in (point.value, *(point.cost.interval or ()))]
    low, high = min(ends), max(ends)
    missing = max(0.0, 0.2 * high - (high - low)) / 2
    room = 0.06 * (high - low + 2 * missing)
    return {"range": [max(0.0, low - missing - room), high + missing + room], "zeroline": False}


def _marker_note(points: Sequence[_Point]) -> str:
    kinds = {point.cost.kind for point in points}
    told = {"measured": "Filled: measured. ", "predicted": "Hollow: predicted, not measured. "}
    odd = "" if all(point.conforms for point in points) else "Cross: does not compute what its source does. "
    return "".join(text for kind, text in told.items() if kind in kinds) + odd


def _left_out(report: BuildReport, question_set: str, points: Sequence[_Point]) -> str:
    shown = {point.artifact.recipe for point in points}
    missing = [artifact.recipe for artifact in report.artifacts if artifact.recipe not in shown]
    return f"Without a figure on {question_set}, and not shown: {', '.join(missing)}." if missing else ""


def _front_trace(front: Sequence[_Point], trade: Trade, scale: float) -> Any:
    import plotly.graph_objects as go

    ordered = sorted(front, key=lambda point: point.value)
    return go.Scatter(
        x=[point.value / scale for point in ordered],
        y=[point.score.value for point in ordered],
        mode="lines",
        name="Pareto front",
        line={"shape": "hv" if trade.sign > 0 else "vh", "dash": "dot", "width": 1.5},
        hoverinfo="skip",
        meta={"role": "front"},
    )


def _point_trace(report: BuildReport, point: _Point, on_front: bool, scale: float) -> Any:
    import plotly.graph_objects as go

    artifact, tint = point.artifact, colour(report, point.artifact)
    shape = symbol(report, artifact) if point.conforms else "x"
    cost, score = figure_cell(point.cost), score_cell(point.score)
    name = plain(artifact.recipe)
    told = [
        f"<b>{name}</b>{' (recommended)' if artifact.recipe == report.recommended else ''}",
        f"right: {score.text}, 95% interval {score.detail}",
        f"{plain(point.cost.kind)}: {cost.text}{f' ({cost.detail})' if cost.detail else ''}",
    ]
    return go.Scatter(
        x=[point.value / scale],
        y=[point.score.value],
        mode="markers",
        name=name,
        error_y=error_bars([point.score.value], [point.score.interval], tint),
        error_x=error_bars([point.value], [point.cost.interval], tint, scale),
        marker={
            "size": 13 if on_front else 9,
            "color": tint,
            "symbol": shape if point.cost.kind == "measured" else f"{shape}-open",
            "line": {"width": 2.5 if point.cost.kind == "predicted" else 0, "color": tint},
        },
        hovertext=["<br>".join(told)],
        hoverinfo="text",
        meta={"role": "artifact"},
    )


def _names_trace(report: BuildReport, points: Sequence[_Point], front: Sequence[_Point], scale: float) -> Any:
    """The names beside the points, drawn over all else; the page finds each a free side, important ones first."""
    import plotly.graph_objects as go

    chosen = [point.artifact.recipe == report.recommended for point in points]
    names = [plain(point.artifact.recipe) for point in points]
    return go.Scatter(
        x=[point.value / scale for point in points],
        y=[point.score.value for point in points],
        mode="markers+text",
        marker={"size": 13, "opacity": 0},  # not seen: they keep the names off the points below
        text=[f"<b>{name}</b>" if best else name for name, best in zip(names, chosen, strict=True)],
        textposition=["middle right"] * len(points),
        hoverinfo="skip",
        meta={
            "role": "names",
            "priority": [2 * best + (one in front) for one, best in zip(points, chosen, strict=True)],
        },
    )


def _tradeoff_grid(
    report: BuildReport, question_set: str, trade: Trade, points: Sequence[_Point], front: Sequence[_Point]
) -> Grid:
    rows = tuple(
        (
            Cell(point.artifact.recipe, tags=("recommended",) if point.artifact.recipe == report.recommended else ()),
            score_cell(point.score),
            figure_cell(point.cost),
            Cell("yes" if point in front else "no"),
        )
        for point in points
    )
    header = ("artifact", f"right ({question_set})", trade.title.lower(), "on the front")
    return Grid(f"Accuracy on {question_set} against {trade.title.lower()}", header, rows)
