"""What several commands have in common: their options, and where they print."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.nano import MODEL_NAME
from workbench.prompt import PROMPTS

if TYPE_CHECKING:
    from workbench.progress import Listener

STORE = Path("artifacts")
PATH = click.Path(path_type=Path)


def combine(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, shown in this order."""

    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


model_options = combine(
    click.option(
        "--model",
        default=MODEL_NAME,
        show_default=True,
        help="Folder, Hub id such as defog/sqlcoder, or the bundled model.",
    ),
    click.option("--revision", help="Branch, tag or commit of a Hub id."),
)
target_options = combine(
    click.option(
        "--profile", required=True, help="Hardware profile, e.g. rtx4090, m2-max:64 (see: workbench profiles)."
    ),
    click.option(
        "--recipe", "recipes", multiple=True, help="Recipe name or YAML file; repeat for several. Default: all."
    ),
    click.option("--context", type=int, help="Tokens of prompt and answer to plan for. Default: the model's limit."),
)
database_url_option = click.option(
    "--database-url",
    envvar="WORKBENCH_DATABASE_URL",
    help="PostgreSQL to score on, postgresql://... Default: an embedded server.",
)
prompt_option = click.option(
    "--prompt",
    type=click.Choice(sorted(PROMPTS)),
    help="Prompt the model was trained on. Default: by the model's name, v3 for a stranger.",
)
questions_option = click.option(
    "--questions",
    multiple=True,
    type=PATH,
    help="Question CSV in sql-eval's format, or a folder with questions.csv, schema.sql and rows; repeatable. "
    "Default: the bundled sets, heldout and unseen.",
)
databases_option = click.option(
    "--databases",
    type=PATH,
    envvar="WORKBENCH_DATABASES",
    help="Folder of the questions' databases, such as a defog-data checkout. Default: beside the questions, "
    "then the installed defog-data.",
)
_calibration = click.option(
    "--calibration",
    metavar="SOURCE",
    help="Texts to fit quantized weights to: questions as for --questions, a text, JSON Lines, CSV or Parquet file, or "
    "a Hub data set owner/name[@revision][:part]. Default: the bundled training questions.",
)
_calibration_memory = click.option(
    "--calibration-memory",
    type=click.FloatRange(min=0),
    help="GiB of memory for those texts on their way through the model; what takes more is kept on the disk. "
    "Default: 2.",
)
calibration_options = combine(_calibration, _calibration_memory)
threads_option = click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores.")
beams_option = click.option(
    "--beams",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Answers followed side by side for each question: 1 is greedy, 4 as the models' authors used.",
)
store_option = click.option(
    "--out", type=PATH, default=STORE, show_default=True, help="Folder for artifacts, reports and the MLflow store."
)


def _month(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", value):
        raise click.BadParameter(f"{value!r} is no month; write it as 2024-05")
    return value


as_of_option = click.option(
    "--as-of",
    metavar="YYYY-MM",
    callback=_month,
    help="Month of the engines' builds whose speed to expect. Default: the newest generation.",
)


def terminal() -> Listener:
    """Shows progress and tables to the user."""
    from workbench.terminal import Terminal

    return Terminal()
