"""The charts of the report's page about accuracy, as plotly figures: against memory and speed, by group, differences.

Each chart comes with a table of the same figures and a sentence for readers who do not see it. A figure is made of
JSON values alone; colours of text and grid are left to the page, which knows whether its reader prefers dark. What is
measured is a filled marker, what is predicted a hollow one. An artifact has one colour on the whole page.

    chart = tradeoff_chart(report, "heldout", MEMORY)
    chart.figure["data"], chart.grid, chart.alt
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.measure import Measurement, Score
from workbench.pareto import pareto_front
from workbench.report import ArtifactReport, BuildReport, SetScores
from workbench.report_grids import Cell, Grid, figure_cell, grid_of, score_cell
from workbench.tables import breakdown_table

# Each holds 3:1 against the page's white and against its dark (WCAG 2.2, 1.4.11).
PALETTE = ("#2f79c9", "#c96f1a", "#2b9160", "#9a63c4", "#d14f4b", "#178ea1", "#858418", "#cb5390")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
FAR_APART = 20  # from this ratio on, an axis is logarithmic
MOST_SHOWN = 8  # artifacts of a chart by group that are drawn at once; the legend draws the others


@dataclass(frozen=True)
class Chart:
    """A figure with what stands around it.

    Attributes:
        title: heading.
        alt: what it shows, for who does not see it.
        figure: plotly's ``data`` and ``layout``, of JSON values.
        grid: the same figures.
        note: how to read it, below the heading.
    """

    title: str
    alt: str
    figure: dict[str, Any]
    grid: Grid
    note: str = ""


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


def plain(text: str) -> str:
    """A text that plotly shows as it is: its labels take a few HTML tags otherwise."""
    return html.escape(text, quote=False)


def figure(traces: Sequence[Any], height: int, **layout: Any) -> dict[str, Any]:
    """Traces and layout as plotly's JSON values, without its own theme."""
    import plotly.graph_objects as go

    made = go.Figure(traces, layout={"height": height, "hovermode": "closest", **layout}).to_plotly_json()
    made["layout"].pop("template", None)
    return {"data": made["data"], "layout": made["layout"]}


def colour(report: BuildReport, artifact: ArtifactReport) -> str:
    """The artifact's on the whole page."""
    return PALETTE[_place(report, artifact) % len(PALETTE)]


def symbol(report: BuildReport, artifact: ArtifactReport) -> str:
    """The artifact's marker: another one when the colours begin anew."""
    return SYMBOLS[_place(report, artifact) // len(PALETTE) % len(SYMBOLS)]


def _place(report: BuildReport, artifact: ArtifactReport) -> int:
    return next(at for at, one in enumerate(report.artifacts) if one is artifact)


def axis_scale(values: Sequence[float], unit: str) -> tuple[float, str]:
    """What to divide an axis' values by, and the unit they then have."""
    if unit != "bytes":
        return 1.0, unit
    largest = max(values, default=0.0)
    return next((s, n) for s, n in ((1024.0**3, "GiB"), (1024.0**2, "MiB"), (1.0, "B")) if largest >= s or s == 1.0)


def value_axis(values: Sequence[float], scale: float = 1.0) -> dict[str, Any]:
    """An axis of values that begins at zero; a logarithmic one where they lie too far apart to be told so.

    Args:
        values: that it is to show.
        scale: what they are divided by.
    """
    known = [value / scale for value in values if value > 0]
    if not known or max(known) <= FAR_APART * min(known):
        return {"rangemode": "tozero"}
    first, last = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.12g}" for tick in ticks]}


def accuracy_range(scores: Sequence[Score]) -> list[float]:
    """The stretch of an axis that holds the intervals of scores, ten points of it at least."""
    low, high = min(score.interval[0] for score in scores), max(score.interval[1] for score in scores)
    missing = max(0.0, 0.1 - (high - low))
    up = min(missing / 2, 1 - high)
    return [max(0.0, low - (missing - up)) - 0.01, high + up + 0.01]


def error_bars(
    values: Sequence[float], intervals: Sequence[tuple[float, float] | None], tint: str, scale: float = 1.0
) -> dict[str, Any]:
    """Plotly's error bars from the ends of intervals; without an interval there is none.

    Args:
        values: of the points.
        intervals: (low, high) of each.
        tint: colour.
        scale: what the axis' values are divided by.
    """
    ends = [interval or (value, value) for value, interval in zip(values, intervals, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) / scale for value, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [max(0.0, value - low) / scale for value, (low, _) in zip(values, ends, strict=True)],
        "visible": any(intervals),
        "thickness": 1.4,
        "width": 4,
        "color": tint,
    }


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
    """Of memory or speed: logarithmic where they lie far apart, else no longer than the points need."""
    axis = value_axis([point.value for point in points], scale)
    return axis if axis.get("type") == "log" else {"zeroline": False}


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


def scored(report: BuildReport, question_set: str) -> list[tuple[ArtifactReport, SetScores]]:
    """The artifacts that answered a question set, with their scores on it."""
    return [(a, one) for a in report.artifacts for one in a.sets if one.question_set == question_set]


def group_chart(report: BuildReport, question_set: str, kind: str) -> Chart | None:
    """Accuracy of each artifact by ``category`` or ``hardness`` with intervals; ``None`` without such groups."""
    prefix, known = f"sql_accuracy/{kind}/", scored(report, question_set)
    groups = (
        [one.name.removeprefix(prefix) for one in known[0][1].scores if one.name.startswith(prefix)] if known else []
    )
    if not groups:
        return None
    shown = _shown_first(report, [artifact for artifact, _ in known])
    traces = [
        _group_trace(report, artifact, [s for s in one.scores if s.name.startswith(prefix)], prefix, shown)
        for artifact, one in known
    ]
    rows = -(-len(shown) // 4) if len(known) <= MOST_SHOWN else len(known) // 3
    made = figure(
        traces,
        150 + 16 * rows + len(groups) * max(26, 12 * len(shown)),
        scattermode="group",
        scattergap=0.25,
        xaxis={
            "tickformat": ".0%",
            "range": accuracy_range([s for _, one in known for s in one.scores if s.name.startswith(prefix)]),
            "zeroline": False,
        },
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [plain(group) for group in groups],
            "automargin": True,
            "autorange": "reversed",
        },
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        margin={"l": 16, "r": 16, "t": 12, "b": 60},
    )
    hidden = len(known) - len(shown)
    note = (
        f" {len(shown)} of {len(known)} artifacts are drawn; a click on a name in the legend draws another."
        if hidden
        else ""
    )
    return Chart(
        f"By {kind}",
        f"Accuracy on {question_set} by {kind} of {len(known)} artifacts, in {len(groups)} groups.",
        made,
        grid_of(breakdown_table(report, question_set, kind), f"Accuracy on {question_set} by {kind}"),
        f"Right answers with 95% intervals.{note}",
    )


def _shown_first(report: BuildReport, artifacts: Sequence[ArtifactReport]) -> list[str]:
    """Recipes drawn without a click: all, or of many the recommended one, the reference and the first of the others."""
    wanted = (report.recommended, report.reference.get("name"))
    ordered = sorted((one.recipe for one in artifacts), key=lambda name: name not in wanted)
    return ordered[:MOST_SHOWN]


def _group_trace(
    report: BuildReport, artifact: ArtifactReport, scores: Sequence[Score], prefix: str, shown: Sequence[str]
) -> Any:
    import plotly.graph_objects as go

    tint, name = colour(report, artifact), plain(artifact.recipe)
    groups = [plain(one.name.removeprefix(prefix)) for one in scores]
    return go.Scatter(
        x=[one.value for one in scores],
        y=groups,
        orientation="h",
        mode="markers",
        name=name,
        visible=True if artifact.recipe in shown else "legendonly",
        marker={"size": 8, "color": tint, "symbol": symbol(report, artifact)},
        error_x=error_bars([one.value for one in scores], [one.interval for one in scores], tint),
        hovertext=[
            f"<b>{name}</b><br>{group}: {score_cell(one).text} of {one.total}, 95% interval {score_cell(one).detail}"
            for group, one in zip(groups, scores, strict=True)
        ],
        hoverinfo="text",
    )


def difference_chart(report: BuildReport, question_set: str, grid: Grid) -> Chart | None:
    """The difference of each artifact's accuracy from the reference's, with its interval; ``None`` without any.

    Args:
        report: of the build.
        question_set: its name.
        grid: the table of the same figures.
    """
    import plotly.graph_objects as go

    known = [(artifact, one.flips) for artifact, one in scored(report, question_set) if one.flips]
    if not known:
        return None
    traces = [
        go.Scatter(
            x=[100 * flips["difference"]],
            y=[plain(artifact.recipe)],
            mode="markers",
            name=plain(artifact.recipe),
            marker={"size": 9, "color": colour(report, artifact), "symbol": symbol(report, artifact)},
            error_x=error_bars(
                [100 * flips["difference"]],
                [(100 * flips["interval"][0], 100 * flips["interval"][1])],
                colour(report, artifact),
            ),
            hovertext=[
                f"<b>{plain(artifact.recipe)}</b><br>{flips['right_to_wrong']} lost, {flips['wrong_to_right']} gained "
                f"of {flips['questions']}; p = {flips['mcnemar_p']:.3g}"
            ],
            hoverinfo="text",
        )
        for artifact, flips in known
    ]
    names = [plain(artifact.recipe) for artifact, _ in known]
    made = figure(
        traces,
        90 + 26 * len(known),
        showlegend=False,
        xaxis={"title": {"text": "Difference in points"}, "ticksuffix": "", "zeroline": True, "zerolinewidth": 2},
        yaxis={"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "automargin": True},
        margin={"l": 16, "r": 16, "t": 12, "b": 48},
    )
    return Chart(
        "Difference from the reference",
        f"Difference in accuracy on {question_set} from the reference, of {len(known)} artifacts, with 95% intervals.",
        made,
        grid,
        "Left of zero: worse than the reference. An interval that holds zero leaves open which is better.",
    )
