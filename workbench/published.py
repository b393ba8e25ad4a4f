"""Figures others published about the SQLCoder family, to be shown beside measured ones and never among them.

They were computed by sql-eval's own rules, which accept more than the strict score does, on question sets that changed
from year to year, with beams and prompts that are not always told. So each row says where it is from, and its interval
(Wilson, from the number of questions) says how small a difference it can show: at 175 questions 64.6% is 57 to 71.

The data lie in ``published.yaml``; a new row needs a date, the number of questions and a source.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.measure import Score
from workbench.report import score_record
from workbench.tables import DASH, Table, score_text

FILE = Path(__file__).with_suffix(".yaml")
SCORE = "defog_accuracy"
TITLE = "Published figures, by sql-eval's own rules; not measured here"


@dataclass(frozen=True)
class Published:
    """One model's published accuracy.

    Attributes:
        model: Hub id, or the name used there.
        date: year and month.
        source: where it stands.
        overall: with the counts that the percentage and the number of questions imply.
        categories: likewise, by sql-eval's category; empty where none were published.
    """

    model: str
    date: str
    source: str
    overall: Score
    categories: dict[str, Score]

    @property
    def label(self) -> str:
        """``published, sql-eval, 2023-08, n=175``."""
        return f"published, sql-eval, {self.date}, n={self.overall.total}"


def published() -> list[Published]:
    """Every published figure, oldest first, as the file has them."""
    import yaml

    tables = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return [_row(table, model, percents) for table in tables for model, percents in table["models"].items()]


def _row(table: dict[str, Any], model: str, percents: dict[str, float]) -> Published:
    scores = {
        name: Score(SCORE if name == "overall" else f"{SCORE}/category/{name}", round(value * count / 100), count)
        for name, value in percents.items()
        for count in [table["questions"][name]]
    }
    return Published(model, table["date"], table["source"], scores.pop("overall"), scores)


def published_table() -> tuple[Table, str]:
    """One row per published figure, and the legend with the sources."""
    rows = published()
    categories = list(dict.fromkeys(name for row in rows for name in row.categories))
    sources = list(dict.fromkeys(row.source for row in rows))
    header = ("model", "what", "right (sql-eval)", *categories, "source")
    cells = tuple(
        (
            row.model,
            row.label,
            score_text(row.overall),
            *(f"{row.categories[name].value:.1%}" if name in row.categories else DASH for name in categories),
            f"[{sources.index(row.source) + 1}]",
        )
        for row in rows
    )
    legend = "".join(f" [{number}] {source}." for number, source in enumerate(sources, 1))
    return Table(header, cells), f"{TITLE}; intervals: Wilson, 95%.{legend}"


def published_record() -> list[dict[str, Any]]:
    """The same as JSON values; each row says by itself that it was not measured here."""
    return [
        {
            "model": row.model,
            "kind": "published",
            "date": row.date,
            "source": row.source,
            "scores": [score_record(score) for score in (row.overall, *row.categories.values())],
        }
        for row in published()
    ]
