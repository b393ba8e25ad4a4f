"""The charts of accuracy alone: by category and hardness, and each artifact's difference from the reference.

chart = group_chart(report, "heldout", "category")
difference_chart(report, "heldout", grid_of_the_differences)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.chart_parts import (
    LEGEND,
    Chart,
    accuracy_range,
    colour,
    error_bars,
    figure,
    plain,
    row_figure,
    row_point,
    scored,
    symbol,
)
from workbench.measure import Score
from workbench.report import ArtifactReport, BuildReport
from workbench.report_grids import Grid, grid_of, score_cell
from workbench.tables import breakdown_table

MOST_SHOWN = 8  # artifacts of a chart by group that are drawn at once; the legend draws the others


def group_chart(report: BuildReport, question_set: str, kind: str) -> Chart | None:
    """Accuracy of each artifact by ``category`` or ``hardness`` with intervals; ``None`` without such groups."""
    prefix = f"sql_accuracy/{kind}/"
    known = [
        (artifact, [score for score in one.scores if score.name.startswith(prefix)])
        for artifact, one in scored(report, question_set)
    ]
    groups = [score.name.removeprefix(prefix) for score in known[0][1]] if known else []
    if not groups:
        return None
    shown = _shown_first(report, [artifact for artifact, _ in known])
    hidden = len(known) - len(shown)
    note = (
        f" {len(shown)} of {len(known)} artifacts are drawn; a click on a name in the legend draws another."
        if hidden
        else ""
    )
    return Chart(
        f"By {kind}",
        f"Accuracy on {question_set} by {kind} of {len(known)} artifacts, in {len(groups)} groups.",
        _group_figure(report, known, prefix, shown),
        grid_of(breakdown_table(report, question_set, kind), f"Accuracy on {question_set} by {kind}"),
        f"Right answers with 95% intervals.{note}",
    )


def _group_figure(
    report: BuildReport, known: Sequence[tuple[ArtifactReport, list[Score]]], prefix: str, shown: Sequence[str]
) -> dict[str, Any]:
    """A row for each group of the first artifact, in it a point for each artifact; the legend shows and hides them."""
    groups = [plain(score.name.removeprefix(prefix)) for score in known[0][1]]
    legend_rows = -(-len(shown) // 4) if len(known) <= MOST_SHOWN else len(known) // 3
    return figure(
        [_group_trace(report, artifact, scores, prefix, shown) for artifact, scores in known],
        150 + 16 * legend_rows + len(groups) * max(26, 12 * len(shown)),
        scattermode="group",
        scattergap=0.25,
        xaxis={
            "tickformat": ".0%",
            "range": accuracy_range([score for _, scores in known for score in scores]),
            "zeroline": False,
        },
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": groups,
            "automargin": True,
            "autorange": "reversed",
        },
        legend=LEGEND,
        margin={"l": 16, "r": 16, "t": 12, "b": 60},
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
    known = [(artifact, one.flips) for artifact, one in scored(report, question_set) if one.flips]
    if not known:
        return None
    made = row_figure(
        [_difference(report, artifact, flips) for artifact, flips in known],
        [artifact for artifact, _ in known],
        {"title": {"text": "Difference in points"}, "zeroline": True, "zerolinewidth": 2},
    )
    return Chart(
        "Difference from the reference",
        f"Difference in accuracy on {question_set} from the reference, of {len(known)} artifacts, with 95% intervals.",
        made,
        grid,
        "Left of zero: worse than the reference. An interval that holds zero leaves open which is better.",
    )


def _difference(report: BuildReport, artifact: ArtifactReport, flips: Mapping[str, Any]) -> Any:
    low, high = flips["interval"]
    lost, gained, asked = flips["right_to_wrong"], flips["wrong_to_right"], flips["questions"]
    told = f"{lost} lost, {gained} gained of {asked}; p = {flips['mcnemar_p']:.3g}"
    return row_point(report, artifact, 100 * flips["difference"], (100 * low, 100 * high), told)
