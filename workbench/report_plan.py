"""The plan's table on the report's page: what was to be built, what it should cost, and why the rest was not built.

It reads the plan's record (``plan_record.plan_record``) and asks only for what the record holds, for a plan tells more
of a recipe that fits than of one that has no business on the profile.
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
    ("question", "question_s", "s"),
)
_TONES = {"fits": "good", "tight": "doubt", "does not fit": "bad"}


def plan_grid(report: BuildReport) -> Grid:
    """One row a recipe; every figure is predicted."""
    rows = tuple(
        (
            Cell(row["recipe"], " ".join(filter(None, (row.get("runtime"), row.get("generation"))))),
            Cell("yes" if row["build"] else "no"),
            Cell(row.get("verdict") or DASH, tone=_TONES.get(row.get("verdict") or "", "")),
            *(_predicted(row, name, unit) for _, name, unit in _FIGURES),
            _most_context(row),
            _cost(row.get("build_cost") or {}),
            Cell(str(row["reason"]), str(row.get("nearest") or "")),
        )
        for row in report.plan["recipes"]
    )
    figures = (title for title, _, _ in _FIGURES)
    return Grid(
        "The plan: every figure is predicted",
        ("recipe", "build", "verdict", *figures, "most context", "to make it", "why"),
        rows,
    )


def _predicted(row: Mapping[str, Any], name: str, unit: str) -> Cell:
    value = row.get("predicted", {}).get(name)
    if value is None:
        return Cell(DASH)
    exact = bool(row.get("exact", {}).get(name))
    interval = row.get("intervals", {}).get(name)
    detail = range_text(interval[0], interval[1], unit) if interval else ""
    text = value_text(value if unit == "bytes" else float(f"{value:.2g}"), unit)
    return Cell(text if exact else f"~{text}", detail, predicted=True)


def _most_context(row: Mapping[str, Any]) -> Cell:
    tokens = row.get("largest_context")
    return Cell(DASH) if tokens is None else Cell(f"{tokens:,}", predicted=True)


def _cost(cost: Mapping[str, Any]) -> Cell:
    """Time and memory that making the artifact should take."""
    seconds, ram = cost.get("seconds"), cost.get("peak_ram_bytes")
    if seconds is None:
        return Cell(DASH)
    return Cell(f"~{value_text(float(f'{seconds:.2g}'), 's')}", value_text(ram, "bytes") if ram else "", predicted=True)
