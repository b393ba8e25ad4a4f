"""Plots as plain pictures, for pages that show files but run no scripts, such as MLflow's artifact viewer.

The report's page has the same charts, to be zoomed and read out (``workbench/tradeoff_charts.py``); these are for a
look in passing. Right answers, with their 95% interval, against memory and against decoding speed; a filled marker is
measured, a hollow one predicted; the dotted line joins the Pareto front.

    write_plots(report, Path("artifacts/m/reports/cpu"))    # [.../plots/accuracy_against_peak_memory.png, ...]
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.chart_parts import colour
from workbench.report import BuildReport
from workbench.storage import storage_error
from workbench.tradeoff import DECODE, MEMORY, Point, Trade, cost_scale, tradeoff_front, tradeoff_points

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

    name = str(report.question_sets[0]["name"]) if report.question_sets else ""
    points = tradeoff_points(report, name, trade)
    if not points:
        return None
    with rc_context({"text.parse_math": False}):  # a dollar sign in a name is no formula
        return _drawn(report, name, trade, points)


def _drawn(report: BuildReport, question_set: str, trade: Trade, points: Sequence[Point]) -> Any:
    from matplotlib.figure import Figure

    scale, title = cost_scale(points, trade)
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for point in points:
        _draw_point(axes, point, scale, colour(report, point.artifact))
    front = tradeoff_front(points, trade)
    across = [point.value / scale for point in front]
    axes.plot(across, [100 * point.score.value for point in front], ":", color="grey", zorder=0)
    axes.set_xlabel(title)
    axes.set_ylabel(f"Right answers ({question_set}), %")
    axes.set_title(f"{report.model} on {report.profile}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _draw_point(axes: Any, point: Point, scale: float, tint: str) -> None:
    """One artifact, with its interval; hollow where its cost is predicted."""
    low, high = point.score.interval
    right = 100 * point.score.value
    reach = [[max(0.0, right - 100 * low)], [max(0.0, 100 * high - right)]]  # rounding takes 100% beyond its interval
    inside, name = tint if point.cost.kind == "measured" else "white", point.artifact.recipe
    axes.errorbar([point.value / scale], [right], yerr=reach, fmt="o", label=name, color=tint, mfc=inside, capsize=4)
