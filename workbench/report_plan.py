"""The plan's table on the report's page: what was to be built and why the rest was not.

It reads the plan's record (``plan.plan_record``) and asks only for what the record holds, for a plan tells more of a
recipe that fits than of one that has no business on the profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.report import BuildReport
from workbench.report_grids import Cell, Grid, range_text, value_text
from workbench.tables import DASH

_FIGURES = (
    ("file", "weight_bytes", "bytes"),
    ("memory", "peak_memory_bytes", "bytes"),
    ("decode", "decode_tokens_per_s", "tokens/s"),
)


def plan_grid(report: BuildReport) -> Grid:
    """One row a recipe; every figure is predicted."""
    rows = tuple(
        (
            Cell(row["recipe"]),
            Cell("yes" if row["build"] else "no"),
            *(_predicted(row, name, unit) for _, name, unit in _FIGURES),
            Cell(str(row["reason"]), str(row.get("nearest") or "")),
        )
        for row in report.plan["recipes"]
    )
    return Grid("The plan", ("recipe", "build", *(title for title, _, _ in _FIGURES), "why"), rows)


def _predicted(row: Mapping[str, Any], name: str, unit: str) -> Cell:
    value = row.get("predicted", {}).get(name)
    if value is None:
        return Cell(DASH)
    exact = bool(row.get("exact", {}).get(name))
    interval = row.get("intervals", {}).get(name)
    detail = range_text(interval[0], interval[1], unit) if interval else ""
    text = value_text(value if unit == "bytes" else float(f"{value:.2g}"), unit)
    return Cell(text if exact else f"~{text}", detail, predicted=True)
