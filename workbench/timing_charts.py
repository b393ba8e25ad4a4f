"""The charts of the report's page about speed, memory and divergence: repeats, predicted against measured.

Where a measurement kept its repeats (``Measurement.values``) every one of them is drawn beside its box; where only the
median and a percentile are known, these are drawn as a point with an arm. Predicted and measured stand in one row: a
hollow diamond with the interval of the prediction, a filled circle for what came.

    for chart in latency_charts(report) + predicted_charts(report): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.chart_parts import (
    LEGEND,
    Chart,
    axis_scale,
    colour,
    error_bars,
    figure,
    names_axis,
    plain,
    row_figure,
    row_point,
    value_axis,
)
from workbench.measure import Measurement
from workbench.report import ArtifactReport, BuildReport
from workbench.report_grids import Cell, Grid, figure_cell, grid_of, interval_text, value_text
from workbench.tables import DASH, divergence_table

TITLES = {
    "weight_bytes": "Size of the weights",
    "peak_memory_bytes": "Peak memory",
    "load_s": "Time to load",
    "ttft_s": "Time to first token",
    "prefill_tokens_per_s": "Prefill rate",
    "decode_tokens_per_s": "Decode rate",
    "question_s": "Time of a typical question",
}
_TIMED = ("s", "tokens/s")
_CONDITIONS = ("prompt_tokens", "new_tokens", "batch", "beams")


def latency_charts(report: BuildReport) -> list[Chart]:
    """One chart for each figure that was timed here more than once."""
    timed: dict[str, list[tuple[ArtifactReport, Measurement]]] = {}
    for artifact in report.artifacts:
        for one in artifact.measurements:
            if one.kind == "measured" and one.value is not None and one.samples > 1 and one.unit in _TIMED:
                timed.setdefault(one.name, []).append((artifact, one))
    return [_latency_chart(report, name, rows) for name, rows in timed.items()]


def _latency_chart(report: BuildReport, name: str, rows: Sequence[tuple[ArtifactReport, Measurement]]) -> Chart:
    title = TITLES.get(name, name)
    scale, unit = axis_scale([one.value or 0.0 for _, one in rows], rows[0][1].unit)
    axis = value_axis([one.value or 0.0 for _, one in rows], scale)
    made = row_figure(
        [_repeats(report, artifact, one, scale) for artifact, one in rows],
        [artifact for artifact, _ in rows],
        {**axis, "title": {"text": f"{title}, {plain(unit)}"}},
        height=40,
        edge=100,
    )
    grid = Grid(
        title,
        ("artifact", "median", "p95", "p99", "repeats", "workload"),
        tuple(
            (
                Cell(artifact.recipe),
                Cell(value_text(one.value or 0.0, one.unit)),
                *(Cell(DASH if limit is None else value_text(limit, one.unit)) for limit in (one.p95, one.p99)),
                Cell(str(one.samples)),
                Cell(conditions_text(one)),
            )
            for artifact, one in rows
        ),
    )
    kept = any(one.values for _, one in rows)
    boxes, arms = (
        "Every repeat is a point; the box holds the middle half.",
        "Median, and an arm to the 95th percentile.",
    )
    return Chart(
        title,
        f"{title} of {len(rows)} artifacts, measured on {rows[0][1].source}.",
        made,
        grid,
        boxes if kept else arms,
    )


def _repeats(report: BuildReport, artifact: ArtifactReport, one: Measurement, scale: float) -> Any:
    import plotly.graph_objects as go

    name, tint, values = plain(artifact.recipe), colour(report, artifact), one.values
    if len(values) > 1:
        return go.Box(
            x=[value / scale for value in values],
            y=[name] * len(values),
            orientation="h",
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            name=name,
            line={"color": tint, "width": 1.5},
            marker={"color": tint, "size": 5, "opacity": 0.65},
            hoverinfo="x",
        )
    value = (one.value or 0.0) / scale
    low, high = sorted((value, value if one.p95 is None else one.p95 / scale))
    told = f"median {value_text(one.value or 0.0, one.unit)}, {one.samples} repeats"
    return row_point(report, artifact, value, (low, high), told)


def predicted_charts(report: BuildReport) -> list[Chart]:
    """One chart for each figure that was both predicted and measured."""
    names = [name for name in TITLES if _pairs(report, name)]
    return [_predicted_chart(report, name, _pairs(report, name)) for name in names]


def _pairs(report: BuildReport, name: str) -> list[tuple[ArtifactReport, Measurement, Measurement]]:
    """Artifact, prediction, measurement."""
    found = []
    for artifact in report.artifacts:
        told = next((one for one in artifact.predictions if one.name == name and one.value), None)
        came = artifact.measurement(name)
        if told and came and came.kind == "measured" and came.value:
            found.append((artifact, told, came))
    return found


def _predicted_chart(
    report: BuildReport, name: str, pairs: Sequence[tuple[ArtifactReport, Measurement, Measurement]]
) -> Chart:
    title = TITLES[name]
    values = [one.value or 0.0 for _, told, came in pairs for one in (told, came)]
    scale, unit = axis_scale(values, pairs[0][1].unit)
    axis = value_axis(values, scale)
    made = figure(
        [
            _side([(artifact, told) for artifact, told, _ in pairs], "predicted", scale),
            _side([(artifact, came) for artifact, _, came in pairs], "measured", scale),
        ],
        130 + 30 * len(pairs),
        xaxis=axis,
        yaxis=names_axis([artifact for artifact, _, _ in pairs]),
        legend=LEGEND,
        margin={"l": 16, "r": 20, "t": 12, "b": 70},
    )
    unlike = any(other_workload(told, came) for _, told, came in pairs)
    return Chart(
        title,
        f"{title}: predicted with its interval, and measured, of {len(pairs)} artifacts.",
        made,
        _predicted_grid(title, pairs),
        f"In {unit}{', on a logarithmic scale' if 'type' in axis else ''}."
        + (" The prediction is for another workload than the one measured; the table names both." if unlike else ""),
    )


def _side(rows: Sequence[tuple[ArtifactReport, Measurement]], kind: str, scale: float) -> Any:
    """One trace: all predictions, or all measurements."""
    import plotly.graph_objects as go

    told = kind == "predicted"
    tint = "#858418" if told else "#2f79c9"
    return go.Scatter(
        x=[(one.value or 0.0) / scale for _, one in rows],
        y=[plain(artifact.recipe) for artifact, _ in rows],
        mode="markers",
        name=kind,
        marker={
            "size": 11 if told else 9,
            "symbol": "diamond-open" if told else "circle",
            "color": tint,
            "line": {"width": 2 if told else 0, "color": tint},
        },
        error_x=error_bars([one.value or 0.0 for _, one in rows], [one.interval for _, one in rows], tint, scale),
        hovertext=[f"<b>{plain(a.recipe)}</b><br>{kind} {value_text(one.value or 0.0, one.unit)}" for a, one in rows],
        hoverinfo="text",
    )


def _predicted_grid(title: str, pairs: Sequence[tuple[ArtifactReport, Measurement, Measurement]]) -> Grid:
    rows = tuple(
        (
            Cell(artifact.recipe),
            figure_cell(told),
            Cell(interval_text(told) or DASH, predicted=told.interval is not None),
            Cell(value_text(came.value or 0.0, came.unit)),
            Cell(f"{100 * ((came.value or 0.0) / (told.value or 1.0) - 1):+.0f}%"),
            Cell(_inside(told, came)),
            Cell(conditions_text(told) or DASH),
            Cell(conditions_text(came) or DASH),
        )
        for artifact, told, came in pairs
    )
    header = (
        "artifact", "predicted", "nine of ten lie in", "measured", "measured is", "inside", "predicted for",
        "measured with",
    )  # fmt: skip
    return Grid(f"{title}, predicted and measured", header, rows)


def _inside(told: Measurement, came: Measurement) -> str:
    if told.interval is None or came.value is None:
        return DASH
    return "yes" if told.interval[0] <= came.value <= told.interval[1] else "no"


def conditions_text(measurement: Measurement) -> str:
    """``1,000 prompt tokens, 100 new``: the workload of a measurement or prediction, as far as it is told."""
    found = {name: measurement.conditions[name] for name in _CONDITIONS if name in measurement.conditions}
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in found.items())


def other_workload(told: Measurement, came: Measurement) -> bool:
    """Whether a prediction is for another workload than the one measured."""
    return any(
        name in told.conditions and name in came.conditions and told.conditions[name] != came.conditions[name]
        for name in _CONDITIONS
    )


def divergence_chart(report: BuildReport) -> Chart | None:
    """Mean divergence of each artifact from the reference; ``None`` where none was compared."""
    known = [
        (artifact, artifact.divergence["answers"]["kl_nats"])
        for artifact in report.artifacts
        if "answers" in artifact.divergence and artifact.divergence.get("reference") != artifact.recipe
    ]
    if not known:
        return None
    made = row_figure(
        [_divergence(report, artifact, mean["value"], mean["se"] or 0.0) for artifact, mean in known],
        [artifact for artifact, _ in known],
        {"title": {"text": "KL(reference || artifact), nats"}, "rangemode": "tozero"},
    )
    return Chart(
        "Divergence of the next-token distributions",
        f"Mean divergence from the reference of {len(known)} artifacts, over the tokens of the right answers.",
        made,
        grid_of(divergence_table(report), "Divergence from the reference"),
        "Over the tokens of the gold queries, with one standard error to each side.",
    )


def _divergence(report: BuildReport, artifact: ArtifactReport, value: float, error: float) -> Any:
    return row_point(report, artifact, value, (value - error, value + error), f"{value:.3g} nats")
