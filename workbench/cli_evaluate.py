"""``workbench evaluate``: ask an artifact, or any OpenAI-compatible server, and score the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from workbench.cli_options import (
    PATH,
    beams_option,
    combine,
    database_url_option,
    databases_option,
    prompt_option,
    questions_option,
    terminal,
    threads_option,
)

_ENDPOINT_OPTIONS = combine(
    click.option(
        "--endpoint",
        help="Address of an OpenAI-compatible server (vLLM, TGI, llama-server, Ollama, OpenAI). Its key, if it wants "
        "one, is taken from WORKBENCH_API_KEY or OPENAI_API_KEY.",
    ),
    click.option("--model", help="Model to ask there, as the server names it."),
    click.option("--chat", is_flag=True, help="Ask by /chat/completions (GPT-4) instead of /completions (SQLCoder)."),
    click.option(
        "--concurrency", type=click.IntRange(1, 256), default=4, show_default=True, help="Questions asked at once."
    ),
    click.option(
        "--timeout", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds to wait for an answer."
    ),
)


@click.command(short_help="Ask an artifact or a server, and score the answers.")
@click.argument("artifact", required=False, type=PATH)
@_ENDPOINT_OPTIONS
@questions_option
@databases_option
@click.option("--limit", type=click.IntRange(min=1), help="Ask at most so many questions of each set.")
@database_url_option
@prompt_option
@beams_option
@click.option("--max-new-tokens", type=click.IntRange(1), default=300, show_default=True, help="Limit per answer.")
@click.option("--context", type=click.IntRange(1), help="Tokens an artifact is loaded for. Default: enough.")
@threads_option
@click.option("--reference", type=PATH, help="Predictions of another run or machine, to count flips against.")
@click.option("--out", type=PATH, help="Folder for predictions and figures. Default: artifacts/evaluations/MODEL.")
@click.option("--again", is_flag=True, help="Ask everything anew, though answers are there.")
@click.option("--published", is_flag=True, help="Show published figures of the SQLCoder family below.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def evaluate(artifact: Path | None, published: bool, as_json: bool, **options: Any) -> None:
    """Ask ARTIFACT, a folder made by build or convert, or a model of a server, and score its answers on PostgreSQL.

    Answers are kept as they come: the same command goes on where it was stopped.
    """
    from workbench.endpoint import EndpointOptions
    from workbench.evaluate import EvaluateRequest
    from workbench.evaluate import evaluate as run_evaluate
    from workbench.progress import SILENT
    from workbench.published import published_record, published_table
    from workbench.scored_file import legend, score_table

    options["asking"] = EndpointOptions(options.pop("chat"), options.pop("concurrency"), options.pop("timeout"))
    options["threads"] = options["threads"] or 0
    listener = SILENT if as_json else terminal()
    outcome = run_evaluate(EvaluateRequest(artifact, **options), listener)
    if as_json:
        record = {**outcome.evaluation.record(), **({"published": published_record()} if published else {})}
        click.echo(json.dumps(record, indent=2))
        return
    for one in outcome.scored:
        listener.table(score_table(one), f"{one.name}: {legend(one)}")
    if published:
        listener.table(*published_table())
    for remark in outcome.evaluation.remarks():
        click.echo(remark)
    click.echo(f"Files: {outcome.folder / 'predictions.jsonl'} and evaluation.json")
