"""The report on disk: ``report.json`` for machines, ``report.md`` for a reader without the workbench.

A measured and a predicted figure never look alike: predicted ones carry ``~`` and the page says so.
"""

from __future__ import annotations

import json
from pathlib import Path

from workbench.flip_tables import acceptance_table, difference_table, flipped_table, group_table, noise_text
from workbench.report import BuildReport, report_record
from workbench.storage import storage_error
from workbench.tables import (
    LEGEND,
    Table,
    breakdown_table,
    comparison_table,
    divergence_table,
    latency_table,
    refusals_text,
)
from workbench.whole_file import write_whole


def write_report(report: BuildReport, folder: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.md``; returns their paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        json_path, markdown_path = folder / "report.json", folder / "report.md"
        text = json.dumps(report_record(report), indent=2, ensure_ascii=False)
        write_whole(json_path, text + "\n")
        write_whole(markdown_path, report_markdown(report))
    except OSError as error:
        raise storage_error(error, folder) from error
    return json_path, markdown_path


def report_markdown(report: BuildReport) -> str:
    """The whole report for a reader without the workbench."""
    here = "this machine" if report.profile_is_here else "another machine: its speed and memory are predicted"
    parts = [
        f"# {report.model} on {report.profile}",
        _recommendation(report),
        f"Built and scored on: {report.machine}. Profile `{report.profile}` is {here}. "
        f"Prompt `{report.prompt}`, context {report.context} tokens, {_search(report.beams)}. "
        f"Source digest `{report.source['digest'][:16]}`.",
        "## Comparison",
        comparison_table(report).markdown(),
        LEGEND + " Accuracy: strict execution accuracy with its 95% Wilson interval. "
        "Flips: answers that went from right to wrong (-) and from wrong to right (+) against the reference, "
        "with the exact McNemar p. Accepted: what the recipe's accuracy gate says.",
    ]
    if any(artifact.acceptance for artifact in report.artifacts):
        parts += ["## Accuracy gates", acceptance_table(report).markdown()]
    notes = [
        f"- `{a.recipe}`: {note}" for a in report.artifacts for note in (*a.notes, *([a.error] if a.error else []))
    ]
    if notes:
        parts += ["## Notes", "\n".join(notes)]
    for one in report.question_sets:
        parts.append(f"## Accuracy on {one['name']} ({one['questions']} questions)")
        parts += [breakdown_table(report, one["name"], kind).markdown() for kind in ("category", "hardness")]
        parts += filter(None, [refusals_text(report, one["name"])])
    parts += _divergence(report)
    parts += _flips(report)
    parts += ["## Measurements", latency_table(report).markdown(), "## Plan", _plan_record_table(report).markdown()]
    return "\n\n".join(parts) + "\n"


def _divergence(report: BuildReport) -> list[str]:
    """The section about divergences, if any artifact was compared."""
    table = divergence_table(report)
    names = {artifact.divergence["reference"] for artifact in report.artifacts if "answers" in artifact.divergence}
    if not table.rows:
        return []
    return [
        "## Divergence from the reference",
        f"Reference: {', '.join(sorted(names))}. Every artifact read the same right answers (teacher forcing), and the "
        "distributions it expected in each place are compared: KL(reference || artifact) in nats, the share of places "
        "where both hold the same token most probable, and the perplexity. After ± one standard error, over questions, "
        "because the tokens of one question are no independent samples. `answers` are the tokens of the gold queries, "
        "`prompts` the first ones of the questions themselves.",
        table.markdown(),
    ]


def _flips(report: BuildReport) -> list[str]:
    """What changed against the reference, set by set."""
    parts = []
    for one in report.question_sets:
        differences = difference_table(report, one["name"])
        if not differences.rows:
            continue
        parts += [
            f"## Flips on {one['name']} against `{report.reference.get('name', 'the reference')}`",
            differences.markdown(),
            "p: exact McNemar test, two-sided. Difference: with its 95% interval (Newcombe 1998, paired, method 10). "
            "Could show: the smallest difference that as many questions, flipping as often, show in four runs of five.",
        ]
        flipped = flipped_table(report, one["name"])
        if flipped.rows:
            parts += [group_table(report, one["name"], kind).markdown() for kind in ("category", "hardness")]
            parts += [f"The questions that flipped (the first {len(flipped.rows)}; `report.json` has all):"]
            parts += [flipped.markdown()]
    noise = noise_text(report.noise)
    return [*parts, noise] if noise else parts


def _search(beams: int) -> str:
    return "greedy decoding" if beams == 1 else f"beam search with {beams} beams"


def _recommendation(report: BuildReport) -> str:
    if report.recommended is None:
        return f"No recommendation: {report.reason}"
    return f"**Recommended: `{report.recommended}`** - {report.reason}."


def _plan_record_table(report: BuildReport) -> Table:
    rows = tuple((row["recipe"], "yes" if row["build"] else "no", row["reason"]) for row in report.plan["recipes"])
    return Table(("recipe", "build", "why"), rows)
