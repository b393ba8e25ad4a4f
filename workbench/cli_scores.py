"""``workbench score``: judge answers that are there already, without a model.

Two ways to bring them: ``--cases`` with data, golds and candidate on every line, ``--predictions`` with a file of
answers to question sets. Both run on an embedded PostgreSQL, or on any server by ``--database-url``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from workbench.cli_options import PATH, database_url_option, databases_option, questions_option, terminal

_FOR_PREDICTIONS = ("questions", "reference", "limit", "out", "broadcasting")


@click.command(short_help="Judge answers that are there already.")
@click.option("--cases", type=click.File(encoding="utf-8-sig"), help="JSON Lines, each a case of its own; - is stdin.")
@click.option("--predictions", type=PATH, help="Answers to question sets: JSON Lines, or the CSV that sql-eval writes.")
@questions_option
@click.option("--limit", type=click.IntRange(min=1), help="Only so many questions of each set, as in a build.")
@click.option("--reference", type=PATH, help="Answers to compare --predictions with, question by question.")
@click.option("--out", type=PATH, help="File for the predictions with their verdicts.")
@click.option(
    "--broadcasting", is_flag=True, help="Score by sql-eval's rules as it was since May 2024, fault included."
)
@databases_option
@database_url_option
@click.option(
    "--timeout", type=click.FloatRange(0.01, 3600), default=5.0, show_default=True, help="Seconds for each answer."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def score(cases: Any, predictions: Path | None, as_json: bool, **options: Any) -> None:
    """Judge SQL by running it: cases that bring their own tables, or a file of answers to question sets.

    A line of --cases is a JSON object: setup_sql (or database, a name), golds, candidate and, if wanted, question,
    order_matters and keys of your own. Each is answered by a line with verdict (correct, incorrect, error, rejected),
    exact and reason; harness_error says that the case itself is at fault, and makes the command exit with 1.
    """
    if (cases is None) == (predictions is None):
        raise click.UsageError("Give either --cases or --predictions.")
    if predictions is not None:
        _score_predictions(predictions, as_json, options)
        return
    if strange := [f"--{name}" for name in _FOR_PREDICTIONS if options[name]]:
        raise click.UsageError(f"{', '.join(strange)} goes with --predictions, not with --cases.")
    _score_cases(cases, as_json, options)


def _score_cases(cases: Any, as_json: bool, options: dict[str, Any]) -> None:
    import json

    from workbench.case_file import cases_table, fault_text, judge_lines, read_cases, scripts_in, summary
    from workbench.scoring import open_server

    lines = read_cases(cases, cases.name, scripts_in(options["databases"], Path(cases.name).parent))
    judged = []
    shown = terminal()
    with open_server(options["database_url"]) as server:
        for line, outcome in judge_lines(lines, server, options["timeout"]):
            judged.append((line, outcome))
            if as_json:
                click.echo(json.dumps(line.answer(outcome)))
            else:
                shown.advance("cases", len(judged), len(lines))
    if not as_json:
        shown.table(cases_table(judged), summary(judged))
    if fault := fault_text(judged):
        click.echo(f"error: {fault}", err=True)
        sys.exit(1)


def _score_predictions(predictions: Path, as_json: bool, options: dict[str, Any]) -> None:
    import json
    from functools import partial

    from workbench.predictions import write_predictions
    from workbench.progress import SILENT
    from workbench.scored_file import ScoreRequest, answered_sets, legend, record, score_set, score_table
    from workbench.scoring import open_server

    named = {name: options[name] for name in ("reference", "questions", "databases", "limit", "broadcasting")}
    request = ScoreRequest(predictions, timeout_s=options["timeout"], **named)
    answered = answered_sets(request)
    shown = SILENT if as_json else terminal()
    with open_server(options["database_url"]) as server:
        heard = partial(shown.advance, "answers")
        scored = [score_set(one, server, request.timeout_s, heard, request.broadcasting) for one in answered]
    if options["out"]:
        write_predictions(options["out"], [line for one in scored for line in one.judged()])
    if as_json:
        click.echo(json.dumps(record(request, scored), indent=2))
        return
    for one in scored:
        shown.table(score_table(one), f"{one.name}: {legend(one)}")
