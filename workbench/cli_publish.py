"""``workbench push``: upload packages to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from workbench.cli_options import PATH, store_option, terminal


@click.command(short_help="Upload packages to the Hugging Face Hub.")
@click.argument("artifact", type=PATH, nargs=-1, required=True)
@click.argument("repository", metavar="ORG/NAME")
@click.option("--private/--public", default=True, show_default=True, help="Of a repository that is made.")
@click.option("--revision", metavar="BRANCH", help="Branch to write to, made when it is not there. Default: main.")
@click.option("--create-pr", is_flag=True, help="Propose the commit as a pull request instead.")
@click.option(
    "--collection",
    metavar="TITLE",
    help="Push each format to a repository of its own, ORG/NAME-recipe (GGUF together: ORG/NAME-gguf), and all into "
    "the collection of this title.",
)
@click.option("--force", is_flag=True, help="Upload even what does not conform or its accuracy gate refuted.")
@store_option
@click.option("--tracking-uri", help="MLflow to tell. Default: MLFLOW_TRACKING_URI, else the local store in --out.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
def push(artifact: tuple[Path, ...], **options: Any) -> None:
    """Upload packages to the Hugging Face Hub in one commit, with your token (hf auth login, or HF_TOKEN).

    Several GGUF packages lie side by side in one repository; other formats have one each. What is no package yet is
    packaged first. What is there already is not sent again.
    """
    from workbench.push import PushRequest
    from workbench.push import push as run_push

    run_push(PushRequest(artifact, **options), terminal())
