"""The command line: parse, call one public function, print. No logic lives here.

Everything beyond click is imported inside the commands, so ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import click

from workbench import __version__
from workbench.cli_benchmark import benchmark
from workbench.cli_evaluate import evaluate
from workbench.cli_options import (
    PATH,
    beams_option,
    calibration_options,
    database_url_option,
    databases_option,
    model_options,
    prompt_option,
    questions_option,
    store_option,
    target_options,
    terminal,
    threads_option,
)
from workbench.cli_package import package, signing_key
from workbench.cli_plan import plan
from workbench.cli_publish import push
from workbench.cli_pull import pull
from workbench.cli_release import matrix, release
from workbench.cli_report import report_page
from workbench.cli_scores import score
from workbench.cli_verify import verify


class _Commands(click.Group):
    """A group that answers a mistyped command with the nearest one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="workbench")
def cli() -> None:
    """Which SQLCoder variant fits your hardware, how fast is it, and does it still answer right?"""


cli.add_command(benchmark)
cli.add_command(evaluate)
cli.add_command(matrix)
cli.add_command(package)
cli.add_command(plan)
cli.add_command(pull)
cli.add_command(push)
cli.add_command(release)
cli.add_command(report_page)
cli.add_command(signing_key)


@cli.command(short_help="Plan, convert, run, score, compare and record.")
@target_options
@model_options
@store_option
@prompt_option
@questions_option
@databases_option
@click.option(
    "--reference",
    multiple=True,
    type=PATH,
    help="Answers of the 16-bit reference from another machine (a predictions file); repeatable. Default: built here.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Ask at most so many questions of each set.")
@beams_option
@database_url_option
@click.option(
    "--tracking-uri", help="MLflow tracking server. Default: MLFLOW_TRACKING_URI, else a local store in --out."
)
@click.option("--log-weights", is_flag=True, help="Upload the weights to MLflow, not only their digests.")
@threads_option
@calibration_options
@click.option(
    "--divergence",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    help="Questions over which to compare next-token distributions with the 16-bit reference's; 0 for none.",
)
@click.option("--again", is_flag=True, help="Run, measure and score anew what has not changed.")
@click.option("--strict", is_flag=True, help="Exit with 3 when an accuracy gate refutes an artifact.")
def build(
    profile: str, recipes: tuple[str, ...], questions: tuple[Path, ...], threads: int | None, **options: Any
) -> None:
    """Plan, convert, run, score, compare and record: the whole job."""
    from workbench.acceptance import check_gates
    from workbench.build import build as run_build
    from workbench.request import BuildRequest

    strict = options.pop("strict")

    listener = terminal()
    request = BuildRequest(profile=profile, recipes=recipes, questions=questions, threads=threads or 0, **options)
    outcome = run_build(request, listener)
    report = outcome.report
    click.echo(f"\nRecommended for {report.profile}: {report.recommended or 'nothing'} - {report.reason}.")
    click.echo(
        f"Report: {outcome.folder / 'report.html'}   Compare in a browser: python -m workbench ui --out {request.out}"
    )
    failed = [artifact.recipe for artifact in report.artifacts if artifact.error]
    if failed:
        click.echo(f"error: {', '.join(failed)} could not be run; the report says why", err=True)
    if strict:
        for sentence in check_gates(report):
            click.echo(f"note: {sentence}", err=True)
    if failed:
        sys.exit(1)


@cli.command(short_help="Convert alone: no evaluation, no MLflow.")
@model_options
@prompt_option
@click.option("--recipe", required=True, help="Recipe name or YAML file (see: workbench recipes).")
@click.option("--out", type=PATH, required=True, help="Folder the artifact will be: a new one, or an older artifact's.")
@threads_option
@calibration_options
@click.option("--check", is_flag=True, help="Then run it in its engine and compare it with its source.")
def convert(recipe: str, out: Path, threads: int | None, **options: Any) -> None:
    """Convert a model by one recipe: this stage alone, without evaluation or MLflow.

    A run that was stopped goes on where it was, and an equal artifact that is there already is kept.
    """
    from workbench.convert import convert as run_convert
    from workbench.request import ConvertRequest

    run_convert(ConvertRequest(recipe, out, threads=threads or 0, **options), terminal())


@cli.command(short_help="Put several builds side by side.")
@click.argument("reports", nargs=-1, type=PATH)
@store_option
@click.option("--published", is_flag=True, help="Show published figures of the SQLCoder family below.")
def compare(reports: tuple[Path, ...], out: Path, published: bool) -> None:
    """Put the artifacts of several builds side by side (default: all reports in --out)."""
    from workbench.compare import tables

    listener = terminal()
    for table, legend in tables(reports, out, published):
        listener.table(table, legend)


@cli.command()
@store_option
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@click.option("--tracking-uri", help="Default: MLFLOW_TRACKING_URI, else the local store in --out.")
def ui(out: Path, port: int, tracking_uri: str | None) -> None:
    """Open MLflow's own pages on the recorded builds."""
    import subprocess

    from workbench.trackers.mlflow import ui_command, ui_pages

    command = ui_command(out, tracking_uri, port)
    click.echo(f"MLflow on http://127.0.0.1:{port} - stop with Ctrl-C")
    for experiment, address in ui_pages(out, tracking_uri, port).items():
        click.echo(f"{experiment}: {address}")
    sys.exit(subprocess.run(command, check=False).returncode)


@cli.command()
def profiles() -> None:
    """List the hardware profiles."""
    from workbench.listing import profiles_table

    terminal().table(profiles_table())


@cli.command()
def recipes() -> None:
    """List the recipes."""
    from workbench.listing import recipes_table

    terminal().table(recipes_table())


@cli.command(short_help="Check recipe and profile files.")
@click.argument("files", nargs=-1, type=PATH)
def validate(files: tuple[Path, ...]) -> None:
    """Check recipe and profile files (default: all shipped ones) without building anything."""
    from workbench.catalog import check_file, shipped_files

    chosen = list(files) or shipped_files()
    faults = [(file, fault) for file in chosen for fault in check_file(file)]
    for file, fault in faults:
        click.echo(f"{file}: {fault}", err=True)
    if faults:
        click.echo(f"{len(faults)} faults in {len({file for file, _ in faults})} of {len(chosen)} files", err=True)
        sys.exit(2)
    click.echo(f"{len(chosen)} files are right")


@cli.command(short_help="What this machine has, what is missing, the fix.")
@store_option
def doctor(out: Path) -> None:
    """What this machine has, which engines are installed, what is missing and the command that fixes it."""
    from workbench.doctor import examine
    from workbench.listing import findings_table

    findings = examine(out)
    terminal().table(findings_table(findings))


cli.add_command(score)
cli.add_command(verify)
