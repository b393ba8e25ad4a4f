"""``workbench matrix`` and ``workbench release``: the jobs of a release, and the files that it carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from workbench.cli_options import PATH, model_options, terminal


@click.command(short_help="The jobs of a release, for GitHub Actions.")
@model_options
@click.option("--recipe", multiple=True, help="Recipe names or files, one or several. Default: those built by default.")
@click.option("--profile", multiple=True, required=True, help="Hardware profiles, one or several.")
@click.option("--owner", default="", help="Of the repositories on the Hub.")
def matrix(**options: Any) -> None:
    """Which recipes to build for which profiles, as outputs of a workflow's step; all from the plan, nothing built."""
    from workbench.matrix import MatrixRequest, make_matrix

    found = make_matrix(MatrixRequest(**options))
    for line in found.outputs():
        click.echo(line)
    for reason in found.left_out:
        click.echo(f"note: left out: {reason}", err=True)


@click.command(short_help="Attach packages' cards, proofs and reports to a GitHub release.")
@click.argument("tag")
@click.argument("packages", nargs=-1, type=PATH)
@click.option("--repository", required=True, envvar="GITHUB_REPOSITORY", metavar="OWNER/NAME", help="On GitHub.")
@click.option("--notes", type=PATH, help="Text of the release, in Markdown. Default: what the packages are.")
@click.option("--draft", is_flag=True, help="Leave it to you to publish the release.")
@click.option("--dry-run", is_flag=True, help="Show what would be attached, ask nothing of GitHub.")
@click.option("--weights", is_flag=True, help="Attach the weights, too; GitHub takes files under 2 GiB.")
@click.option("--file", multiple=True, type=PATH, help="Attach this file, too, such as a wheel; repeatable.")
def release(tag: str, packages: tuple[Path, ...], **options: Any) -> None:
    """Attach what describes and proves PACKAGES, folders or their manifests, to the release TAG (GITHUB_TOKEN).

    A release that is not there is made and shown once it is whole; what it holds already is kept.
    """
    from workbench.github_release import ReleaseRequest
    from workbench.github_release import release as run_release

    run_release(ReleaseRequest(tag, packages, **options), terminal())
