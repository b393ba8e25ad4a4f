"""The charts of accuracy against memory and against speed, with intervals and the Pareto front.

What is measured is a filled marker, what is predicted a hollow one; an artifact that does not compute what its source
does is a cross, and no part of the front (``workbench/pareto.py``), for its figures are of something else.

    chart = tradeoff_chart(report, "heldout", MEMORY)
    chart.figure["data"], chart.grid, chart.alt
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.chart_parts import (
    Chart,
    accuracy_range,
    colour,
    error_bars,
    figure,
    plain,
    symbol,
    value_axis,
)
from workbench.report import BuildReport
from workbench.report_grids import Cell, Grid, figure_cell, score_cell
from workbench.tradeoff import Point, Trade, cost_scale, tradeoff_front, tradeoff_points


def tradeoff_chart(report: BuildReport, question_set: str, trade: Trade) -> Chart | None:
    """Accuracy against memory or speed with intervals and the Pareto front; ``None`` where no artifact has both."""
    points = tradeoff_points(report, question_set, trade)
    if not points:
        return None
    front = tradeoff_front(points, trade)
    names = ", ".join(point.artifact.recipe for point in front)
    better = "left" if trade.sign > 0 else "right"
    return Chart(
        f"Accuracy against {trade.title.lower()}",
        f"Accuracy on {question_set} against {trade.title.lower()} of {len(points)} artifacts. Pareto front: {names}.",
        _tradeoff_figure(report, question_set, trade, points),
        _tradeoff_grid(report, question_set, trade, points, front),
        f"Up and to the {better} is better. Dotted: the Pareto front, what no other artifact beats in both. "
        + _marker_note(points)
        + _left_out(report, question_set, points),
    )


def _tradeoff_figure(report: BuildReport, question_set: str, trade: Trade, points: Sequence[Point]) -> dict[str, Any]:
    front, (scale, title) = tradeoff_front(points, trade), cost_scale(points, trade)
    return figure(
        [
            _front_trace(front, trade, scale),
            *(_point_trace(report, one, one in front, scale) for one in points),
            _names_trace(report, points, front, scale),
        ],
        430,
        showlegend=False,
        xaxis={**_cost_axis(points, scale), "title": {"text": title}},
        yaxis={
            "title": {"text": f"Right answers ({plain(question_set)})"},
            "tickformat": ".0%",
            "range": accuracy_range([point.score for point in points]),
            "zeroline": False,
        },
        margin={"l": 64, "r": 24, "t": 16, "b": 52},
    )


def _cost_axis(points: Sequence[Point], scale: float) -> dict[str, Any]:
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


def _marker_note(points: Sequence[Point]) -> str:
    kinds = {point.cost.kind for point in points}
    told = {"measured": "Filled: measured. ", "predicted": "Hollow: predicted, not measured. "}
    odd = "" if all(point.conforms for point in points) else "Cross: does not compute what its source does. "
    return "".join(text for kind, text in told.items() if kind in kinds) + odd


def _left_out(report: BuildReport, question_set: str, points: Sequence[Point]) -> str:
    shown = {point.artifact.recipe for point in points}
    missing = [artifact.recipe for artifact in report.artifacts if artifact.recipe not in shown]
    return f"Without a figure on {question_set}, and not shown: {', '.join(missing)}." if missing else ""


def _front_trace(front: Sequence[Point], trade: Trade, scale: float) -> Any:
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


def _point_trace(report: BuildReport, point: Point, on_front: bool, scale: float) -> Any:
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


def _names_trace(report: BuildReport, points: Sequence[Point], front: Sequence[Point], scale: float) -> Any:
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
    report: BuildReport, question_set: str, trade: Trade, points: Sequence[Point], front: Sequence[Point]
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
