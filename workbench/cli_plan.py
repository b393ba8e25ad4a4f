"""The ``plan`` command: which variant fits which hardware, how fast, at what cost, before a byte is downloaded."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Any

import click

from workbench.cli_options import as_of_option, model_options, store_option, terminal


@click.command(short_help="Which variant fits your hardware, how fast, at what cost.")
@click.option(
    "--profile",
    default="all",
    show_default=True,
    help="Hardware profile, e.g. rtx4090, m2-max:64 (see: workbench profiles), or all.",
)
@click.option(
    "--recipe", "recipes", multiple=True, help="Recipe name or YAML file; repeat for several. Default: all shipped."
)
@click.option("--context", type=int, help="Tokens of prompt and answer to plan for. Default: the model's limit.")
@click.option("--batch", type=int, default=1, show_default=True, help="Prompts answered at a time.")
@click.option("--beams", type=int, help="Answers followed for each. Default: as the model is usually asked.")
@as_of_option
@model_options
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(as_json: bool, **request: Any) -> None:
    """Which recipes fit a profile, how fast they answer and what making them costs: all predicted, nothing fetched.

    Of a Hub id only the config and the tensor headers are read; a folder with no more than a config.json is enough.
    """
    import json

    with _no_collection():
        from workbench.plan_request import PlanRequest, plan_model
        from workbench.plan_tables import PLAN_LEGEND

        answer = plan_model(PlanRequest(**request))
        if as_json:
            # One line is written several times sooner than an indented text, which only a person needs.
            click.echo(json.dumps(answer.record(), indent=2 if sys.stdout.isatty() else None))
            return
        click.echo("\n".join(answer.sentences))
        terminal().table(answer.table, PLAN_LEGEND)
        click.echo("\n".join(answer.notes))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without looking for garbage, which takes a tenth of a plan's time and finds none worth its while."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
