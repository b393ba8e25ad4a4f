"""Compare builds: the artifacts of several reports in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.published import published_table
from workbench.report import read_report
from workbench.tables import LEGEND, Table, comparison_table


def find_reports(store: Path) -> list[Path]:
    """All reports in a store.

    Raises:
        WorkbenchError: there is none.
    """
    found = _reports(store)
    if not found:
        raise WorkbenchError(
            f"there is no report in {store}; run: python -m workbench build --profile cpu --out {store}"
        )
    return found


def _reports(store: Path) -> list[Path]:
    return sorted(store.glob("*/reports/*/report.json"))


def tables(paths: Sequence[Path], store: Path, published: bool = False) -> list[tuple[Table, str]]:
    """What there is to compare, each table with its legend: the builds, and below them published figures if wanted.

    Args:
        paths: reports; all of the store when none is named.
        store: where to look for reports.
        published: show published figures too; then there need be no build.

    Raises:
        WorkbenchError: as ``find_reports`` and ``comparison``.
    """
    if published and not paths and not _reports(store):
        return [published_table()]
    builds = comparison(list(paths) or find_reports(store))
    return [builds, published_table()] if published else [builds]


def comparison(paths: Sequence[Path]) -> tuple[Table, str]:
    """One row per artifact of every report, and the legend.

    Accuracies are only comparable on the same questions, so builds on other question sets are refused.

    Raises:
        WorkbenchError: no such report, or the question sets differ.
    """
    reports = [read_report(path) for path in paths]
    digests = {tuple(one["digest"] for one in report.question_sets) for report in reports}
    if len(digests) > 1:
        raise WorkbenchError("these builds were scored on different questions; compare builds on the same --questions")
    tables = [comparison_table(report) for report in reports]
    rows = tuple(
        (report.model, report.profile + (f", {report.beams} beams" if report.beams > 1 else ""), *row)
        for report, table in zip(reports, tables, strict=True)
        for row in table.rows
    )
    return Table(("model", "profile", *tables[0].header), rows), "* = recommended. " + LEGEND
