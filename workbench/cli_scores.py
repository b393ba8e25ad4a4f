"""``workbench score``: judge answers that are there already, without a model.

Two ways to bring them: ``--cases`` with data, golds and candidate on every line, ``--predictions`` with a file of
answers to question sets. Both run on an embedded PostgreSQL, or on any server by ``--database-url``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from workbench.cli_options import database_url_option, databases_option, terminal


@click.command(short_help="Judge answers that are there already.")
@click.option("--cases", type=click.File(encoding="utf-8-sig"), help="JSON Lines, each a case of its own; - is stdin.")
@database_url_option
@databases_option
@click.option(
    "--timeout", type=click.FloatRange(0.01, 3600), default=5.0, show_default=True, help="Seconds for each candidate."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def score(cases: Any, database_url: str | None, databases: Path | None, timeout: float, as_json: bool) -> None:
    """Judge SQL by running it: cases that bring their own tables, or a file of answers to question sets.

    A line of --cases is a JSON object: setup_sql (or database, a name), golds, candidate and, if wanted, question,
    order_matters and keys of your own. Each is answered by a line with verdict (correct, incorrect, error, rejected),
    exact and reason; harness_error says that the case itself is at fault, and makes the command exit with 1.
    """
    _score_cases(cases, database_url, databases, timeout, as_json)


def _score_cases(cases: Any, database_url: str | None, databases: Path | None, timeout: float, as_json: bool) -> None:
    import json

    from workbench.case_file import cases_table, fault_text, judge_lines, read_cases, scripts_in, summary
    from workbench.scoring import open_server

    lines = read_cases(cases, cases.name, scripts_in(databases))
    judged = []
    with open_server(database_url) as server:
        for line, outcome in judge_lines(lines, server, timeout):
            judged.append((line, outcome))
            if as_json:
                click.echo(json.dumps(line.answer(outcome)))
    if not as_json:
        terminal().table(cases_table(judged), summary(judged))
    if fault := fault_text(judged):
        click.echo(f"error: {fault}", err=True)
        sys.exit(1)
