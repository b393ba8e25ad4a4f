"""The report as one page for a browser: ``report.html``, complete in itself, for a reader without the workbench.

    python -m workbench report artifacts/sqlcoder-nano/reports/cpu --out page.html

One file holds text, tables, style, figures and plotly's script: nothing is fetched, so it works offline and can be
mailed. Names, questions and SQL come from models and other people's files and are text to the page, whatever they hold:
the template escapes them, the figures travel as JSON without ``<``, and the page's own policy (Content-Security-Policy)
lets only the two scripts run that were put here, known by their digests (they may compile code, as plotly does).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.accuracy_charts import difference_chart, group_chart
from workbench.chart_parts import Chart
from workbench.errors import WorkbenchError
from workbench.flip_tables import acceptance_table, difference_table, group_table, noise_text
from workbench.report import BuildReport, read_report
from workbench.report_flips import FlippedQuestion, flip_entries
from workbench.report_grids import Grid, artifacts_grid, figure_cell, grid_of, score_cell
from workbench.report_plan import plan_grid
from workbench.storage import storage_error
from workbench.tables import refusals_text
from workbench.timing_charts import divergence_chart, latency_charts, predicted_charts
from workbench.tradeoff import DECODE, MEMORY
from workbench.tradeoff_charts import tradeoff_chart
from workbench.whole_file import write_whole

PAGE_NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class SetSection:
    """All about one question set: accuracy, and what flipped.

    Attributes:
        name: of the set.
        questions: how many.
        tradeoffs: accuracy against memory and speed.
        groups: accuracy by category and hardness.
        refusals: how many questions without an answer were declined; empty where there are none.
        difference: from the reference, or ``None``.
        flip_groups: flips by category and hardness.
        flipped: questions with their SQL.
        flippers: recipes that flipped any of them.
        left_out: flipped questions that are not shown.
    """

    name: str
    questions: int
    tradeoffs: tuple[Chart, ...]
    groups: tuple[Chart, ...]
    refusals: str
    difference: Chart | None
    flip_groups: tuple[Grid, ...]
    flipped: Sequence[FlippedQuestion]
    flippers: Sequence[str]
    left_out: int


def write_page(report: BuildReport, folder: Path) -> Path:
    """Write ``report.html`` into a folder; returns its path.

    Raises:
        StorageError: the disk refuses.
    """
    return _write(report, folder / PAGE_NAME)


def make_page(source: Path, out: Path | None = None) -> Path:
    """Make the page of a report that is there already, beside it or elsewhere; returns its path.

    Args:
        source: a ``report.json``, or the folder that holds one.
        out: file for the page.

    Raises:
        WorkbenchError: there is no report, it is of another version, or ``out`` is a folder.
    """
    report = read_report(source)
    if out is not None and out.is_dir():
        raise WorkbenchError(f"{out} is a folder; give --out the name of a file in it, such as {out / PAGE_NAME}")
    return _write(report, out or (source if source.is_dir() else source.parent) / PAGE_NAME)


def _write(report: BuildReport, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, report_html(report))
    except OSError as error:
        raise storage_error(error, path) from error
    return path


def report_html(report: BuildReport) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, own = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    library = get_plotlyjs()
    values = page_values(report)
    places = {id(chart): place for place, chart in enumerate(values["charts"])}
    text: str = environment.get_template("report.html.j2").render(
        **values,
        place_of=lambda chart: places[id(chart)],
        figures=[chart.figure for chart in values["charts"]],
        style=Markup(style),  # noqa: S704 - this and the scripts are files of this installation
        scripts=[Markup(library), Markup(own)],  # noqa: S704
        digests=[_digest(library), _digest(own)],
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text for a file


@cache
def _digest(script: str) -> str:
    """A script's digest as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def page_values(report: BuildReport) -> dict[str, Any]:
    """What the template shows: charts, tables and sentences, nothing of it HTML."""
    sets = [_set_section(report, one) for one in report.question_sets]
    latency, predicted = latency_charts(report), predicted_charts(report)
    divergence = divergence_chart(report)
    of_sets = [chart for one in sets for chart in (*one.tradeoffs, *one.groups, one.difference) if chart]
    return {
        "report": report,
        "artifacts": artifacts_grid(report),
        "highlights": _highlights(report),
        "notes": [(a.recipe, note, False) for a in report.artifacts for note in a.notes]
        + [(a.recipe, a.error, True) for a in report.artifacts if a.error],
        "reference": report.reference.get("name", "the reference"),
        "sets": sets,
        "latency": latency,
        "predicted": predicted,
        "divergence": divergence,
        "gates": grid_of(acceptance_table(report), "What each gate asked and found"),
        "noise": noise_text(report.noise),
        "plan": plan_grid(report),
        "conditions": _conditions(report),
        "charts": [*of_sets, *latency, *predicted, *([divergence] if divergence else [])],
    }


def _set_section(report: BuildReport, asked: dict[str, Any]) -> SetSection:
    name = asked["name"]
    tradeoffs = (tradeoff_chart(report, name, trade) for trade in (MEMORY, DECODE))
    groups = (group_chart(report, name, kind) for kind in ("category", "hardness"))
    flipped, left_out = flip_entries(report, name)
    differences = grid_of(difference_table(report, name), f"Flips on {name} against the reference")
    by_group = [(kind, group_table(report, name, kind)) for kind in ("category", "hardness")] if flipped else []
    return SetSection(
        name,
        asked["questions"],
        tuple(filter(None, tradeoffs)),
        tuple(filter(None, groups)),
        refusals_text(report, name).replace("`", ""),
        difference_chart(report, name, differences),
        tuple(grid_of(table, f"Flips on {name} by {kind}") for kind, table in by_group if table.rows),
        flipped,
        [
            a.recipe
            for a in report.artifacts
            if any(a.recipe in each.recipes for one in flipped for each in one.answers)
        ],
        left_out,
    )


def _highlights(report: BuildReport) -> list[tuple[str, Any]]:
    """The recommended artifact's figures, by what they are."""
    chosen = next((one for one in report.artifacts if one.recipe == report.recommended), None)
    if chosen is None:
        return []
    figures = [("Memory", "peak_memory_bytes"), ("Typical question", "question_s"), ("Decode", "decode_tokens_per_s")]
    cells = [(title, figure_cell(chosen.measurement(name))) for title, name in figures if chosen.measurement(name)]
    right = [("Right answers", score_cell(chosen.sets[0].overall))] if chosen.sets else []
    return right + cells


def _conditions(report: BuildReport) -> list[tuple[str, str]]:
    """Under what the figures were taken."""
    source = report.source
    found = [
        ("Model", report.model),
        ("Source", f"{source.get('id', '')} at {source['revision']}" if source.get("revision") else ""),
        ("Source digest", source.get("digest", "")),
        ("Parameters", f"{source['parameters']:,}" if source.get("parameters") else ""),
        ("Profile", report.profile),
        ("Profile's machine", "this one" if report.profile_is_here else "another one: speed and memory are predicted"),
        ("Built and scored on", report.machine),
        ("Prompt", report.prompt),
        ("Search", "greedy" if report.beams == 1 else f"beam search, {report.beams} beams"),
        ("Context", f"{report.context:,} tokens"),
        *((f"Questions: {one['name']}", f"{one['questions']}, digest {one['digest']}") for one in report.question_sets),
        ("Reference", " ".join(report.reference.get(key, "") for key in ("name", "kind", "digest"))),
        ("Tools", ", ".join(f"{name} {version}" for name, version in report.tool_versions.items())),
        ("Made", report.made_at),
        ("Took", f"{report.seconds:.0f} s"),
        ("Command", report.command),
    ]
    return [(name, text) for name, text in found if text.strip()]
