"""Plots as plain pictures, for pages that show files but run no scripts, such as MLflow's artifact viewer.

The report's page has the same charts, to be zoomed and read out (``workbench/tradeoff_charts.py``); these are for a
look in passing. Right answers, with their 95% interval, against memory and against decoding speed; a filled marker is
measured, a hollow one predicted; the dotted line joins the Pareto front.

    write_plots(report, Path("artifacts/m/reports/cpu"))    # [.../plots/accuracy_against_peak_memory.png, ...]
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from workbench.chart_parts import PALETTE, axis_scale
from workbench.measure import Measurement, Score
from workbench.pareto import pareto_front
from workbench.report import ArtifactReport, BuildReport
from workbench.storage import storage_error
from workbench.tradeoff_charts import DECODE, MEMORY, Trade

PLOTS_NAME = "plots"
_INCHES, _DOTS = (7.2, 4.4), 110


def write_plots(report: BuildReport, folder: Path) -> list[Path]:
    """Write a picture per trade into ``folder/plots``, in place of older ones; returns those there was data for.

    Raises:
        StorageError: the disk refuses.
    """
    place = folder / PLOTS_NAME
    written = []
    try:
        shutil.rmtree(place, ignore_errors=True)
        for trade in (MEMORY, DECODE):
            made = tradeoff_plot(report, trade)
            if made is not None:
                place.mkdir(parents=True, exist_ok=True)
                path = place / f"accuracy_against_{trade.title.lower().replace(' ', '_')}.png"
                made.savefig(path, dpi=_DOTS)
                written.append(path)
    except OSError as error:
        raise storage_error(error, folder) from error
    return written


def tradeoff_plot(report: BuildReport, trade: Trade) -> Any | None:
    """Right answers on the first question set against memory or speed; ``None`` where no artifact has both."""
    from matplotlib import rc_context

    points = [
        (artifact, artifact.sets[0].overall, cost)
        for artifact in report.artifacts
        if artifact.sets and artifact.sets[0].overall.total
        if (cost := artifact.measurement(trade.name)) and math.isfinite(cost.value or 0.0)
    ]
    if not points:
        return None
    with rc_context({"text.parse_math": False}):  # a dollar sign in a name is no formula
        return _drawn(report, trade, points)


def _drawn(report: BuildReport, trade: Trade, points: list[tuple[ArtifactReport, Score, Measurement]]) -> Any:
    from matplotlib.figure import Figure

    scale, unit = axis_scale([cost.value or 0.0 for _, _, cost in points], points[0][2].unit)
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for place, (artifact, score, cost) in enumerate(points):
        _draw_point(axes, score, cost, scale, (artifact.recipe, PALETTE[place % len(PALETTE)]))
    # What does not compute what its source does is no part of the front; see ``workbench/tradeoff_charts.py``.
    sound = [(score, cost) for artifact, score, cost in points if artifact.conformance.get("passed", True)]
    _draw_front(axes, sound, trade, scale)
    predicted = " (predicted)" if all(cost.kind == "predicted" for _, _, cost in points) else ""
    axes.set_xlabel(f"{trade.title}{predicted}, {unit}")
    axes.set_ylabel(f"Right answers ({report.question_sets[0]['name']}), %")
    axes.set_title(f"{report.model} on {report.profile}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _draw_point(axes: Any, score: Score, cost: Measurement, scale: float, label: tuple[str, str]) -> None:
    """One artifact, with its interval; hollow where its cost is predicted."""
    name, tint = label
    low, high = score.interval
    right = 100 * score.value
    reach = [[max(0.0, right - 100 * low)], [max(0.0, 100 * high - right)]]  # rounding takes 100% beyond its interval
    inside = tint if cost.kind == "measured" else "white"
    axes.errorbar(
        [(cost.value or 0.0) / scale], [right], yerr=reach, fmt="o", label=name, color=tint, mfc=inside, capsize=4
    )


def _draw_front(axes: Any, points: list[tuple[Score, Measurement]], trade: Trade, scale: float) -> None:
    front = pareto_front([(trade.sign * (cost.value or 0.0), score.value) for score, cost in points])
    across = [(points[at][1].value or 0.0) / scale for at in front]
    axes.plot(across, [100 * points[at][0].value for at in front], ":", color="grey", zorder=0)
