"""What the charts of the report's page are made of: colours, axes, error bars, and the frame around a figure.

Each chart comes with a table of the same figures and a sentence for readers who do not see it. A figure is made of
JSON values alone; colours of text and grid are left to the page, which knows whether its reader prefers dark. An
artifact has one colour and one marker on the whole page.

    made = figure([trace], 400, xaxis=value_axis(values))
    Chart("Accuracy by category", "for who does not see it", made, grid)
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.measure import Score
from workbench.report import ArtifactReport, BuildReport, SetScores
from workbench.report_grids import Grid

# Each holds 3:1 against the page's white and against its dark (WCAG 2.2, 1.4.11).
PALETTE = ("#2f79c9", "#c96f1a", "#2b9160", "#9a63c4", "#d14f4b", "#178ea1", "#858418", "#cb5390")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
FAR_APART = 20  # from this ratio on, an axis is logarithmic
LEGEND = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"}


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


def plain(text: str) -> str:
    """A text that plotly shows as it is: its labels take a few HTML tags otherwise."""
    return html.escape(text, quote=False)


def figure(traces: Sequence[Any], height: int, **layout: Any) -> dict[str, Any]:
    """Traces and layout as plotly's JSON values, without its own theme; what is no number is a gap."""
    import plotly.graph_objects as go

    made = go.Figure(traces, layout={"height": height, "hovermode": "closest", **layout}).to_plotly_json()
    made["layout"].pop("template", None)
    return {"data": _finite(made["data"]), "layout": _finite(made["layout"])}


def _finite(value: Any) -> Any:
    """JSON values without NaN and infinity, which JSON does not know: a page's script could not read them."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def row_point(
    report: BuildReport, artifact: ArtifactReport, value: float, interval: tuple[float, float] | None, told: str
) -> Any:
    """One artifact's value with its interval, in the row of its name.

    Args:
        report: of the build.
        artifact: whose.
        value: on the axis.
        interval: of the value, likewise.
        told: when the reader points at it, below the name.
    """
    import plotly.graph_objects as go

    name, tint = plain(artifact.recipe), colour(report, artifact)
    return go.Scatter(
        x=[value],
        y=[name],
        mode="markers",
        name=name,
        marker={"size": 9, "color": tint, "symbol": symbol(report, artifact)},
        error_x=error_bars([value], [interval], tint),
        hovertext=[f"<b>{name}</b><br>{plain(told)}"],
        hoverinfo="text",
    )


def names_axis(artifacts: Sequence[ArtifactReport]) -> dict[str, Any]:
    """A row for each artifact, the first on top."""
    names = [plain(artifact.recipe) for artifact in artifacts]
    return {
        "type": "category", "categoryorder": "array", "categoryarray": names[::-1], "automargin": True,
        "range": [-0.6, len(names) - 0.4],
    }  # fmt: skip


def row_figure(
    traces: Sequence[Any], artifacts: Sequence[ArtifactReport], axis: dict[str, Any], height: int = 26, edge: int = 90
) -> dict[str, Any]:
    """A figure without a legend in which each artifact has a row of its own, beside its name.

    Args:
        traces: of the rows.
        artifacts: whose rows, the first on top.
        axis: of the values, with its title.
        height: of a row, in pixels.
        edge: what stands above and below the rows, likewise.
    """
    return figure(
        traces,
        edge + height * len(artifacts),
        showlegend=False,
        xaxis=axis,
        yaxis=names_axis(artifacts),
        margin={"l": 16, "r": 20, "t": 12, "b": 48},
    )


def scored(report: BuildReport, question_set: str) -> list[tuple[ArtifactReport, SetScores]]:
    """The artifacts that answered a question set, with their scores on it."""
    return [(a, one) for a in report.artifacts for one in a.sets if one.question_set == question_set]
