"""``workbench benchmark``: how fast artifacts answer, how much they take, and which differences are real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from workbench.cli_options import PATH, database_url_option, store_option, terminal, threads_option


@click.command(short_help="Time artifacts, and tell differences from noise.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH)
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    help="Workload or set by name (quick, default, all, question, typical ...); repeatable. Default: default.",
)
@click.option("--all", "every", is_flag=True, help="Every workload: prompts to 4096 tokens, batches to 16, 4 beams.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=7,
    show_default=True,
    help="Processes of each artifact, one after another; what they differ by is the noise.",
)
@click.option(
    "--budget",
    "budget_s",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    help="Seconds after which no further round of processes begins, once there were three.",
)
@threads_option
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="Default: the best that an engine can use.")
@click.option("--against", type=PATH, help="File of an earlier run to compare with.")
@click.option("--json", "json_file", type=PATH, help="File to write, which pytest-benchmark compare reads, too.")
@click.option(
    "--questions",
    multiple=True,
    type=PATH,
    help="Ask these for seconds per correct answer. Default: the accuracy in the build's report beside an artifact.",
)
@database_url_option
@store_option
def benchmark(artifacts: tuple[Path, ...], workloads: tuple[str, ...], every: bool, out: Path, **options: Any) -> None:
    """Time ARTIFACTS, folders made by build or convert, taking turns, each in processes of its own.

    A difference inside the noise is not called a difference.
    """
    from workbench.benchmark import BenchmarkOptions
    from workbench.benchmark_compare import summary
    from workbench.benchmark_tables import comparison_table, figures_table, legend, remarks
    from workbench.benchmarking import BenchmarkRequest
    from workbench.benchmarking import benchmark as run_benchmark

    timing = BenchmarkOptions(
        (*workloads, *(["all"] if every else [])),
        processes=options.pop("processes"),
        budget_s=options.pop("budget_s"),
        threads=options.pop("threads") or 0,
        device=options.pop("device"),
    )
    listener = terminal()
    outcome = run_benchmark(BenchmarkRequest(artifacts, timing, store=out, **options), listener)
    listener.table(figures_table(outcome.result), legend(outcome.result))
    for remark in remarks(outcome.result):
        click.echo(remark)
    for title, compared in (
        (f"Beside {outcome.result.artifacts[0].name}", outcome.between),
        (f"Beside {options['against']}", outcome.with_earlier),
    ):
        if compared:
            listener.table(comparison_table(compared))
            click.echo(f"{title}: {summary(compared)}.")
    for caveat in outcome.caveats:
        click.echo(f"note: {caveat}")
    click.echo(f"File: {outcome.file}")
