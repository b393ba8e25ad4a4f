import shlex
from pathlib import Path

import click

from workbench.cli import cli
from workbench.command_line import build_command
from workbench.request import BuildRequest


def test_only_what_differs_from_the_defaults_is_said():
    assert build_command(BuildRequest("cpu")) == "python -m workbench build --profile cpu"


def test_every_option_reads_back_on_the_command_line():
    request = BuildRequest(
        "m2-max:64", ("a b", "gguf-q4_k_m"), "org/model", "main", "nano", Path("out dir"), 512, (Path("q.csv"),),
        Path("dbs"), (Path("ref.jsonl"),), 5, 4, "postgresql://u@h/db", "sqlite:///x.db", True, 2, True, 0,
        "texts.jsonl", 0.5,
    )  # fmt: skip
    words = shlex.split(build_command(request))
    assert words[:4] == ["python", "-m", "workbench", "build"]
    told = cli.commands["build"].make_context("build", words[4:], resilient_parsing=True).params
    told = {name: value for name, value in told.items() if name != "strict"}
    assert BuildRequest(**told) == request


def test_the_options_are_those_of_the_command():
    names = {option.name for option in cli.commands["build"].params if isinstance(option, click.Option)}
    assert names - {"strict"} == set(BuildRequest.__dataclass_fields__)
