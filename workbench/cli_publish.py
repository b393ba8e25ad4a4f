"""``workbench push``: upload an artifact to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from workbench.cli_options import PATH, terminal


@click.command(short_help="Upload an artifact to the Hugging Face Hub.")
@click.argument("artifact", type=PATH)
@click.option("--to", required=True, metavar="OWNER/NAME", help="Repository; made when it is not there.")
@click.option("--private/--public", default=True, show_default=True, help="Of a repository that is made.")
@click.option("--force", is_flag=True, help="Upload even what does not conform or its accuracy gate refuted.")
def push(artifact: Path, **options: Any) -> None:
    """Upload an artifact's folder to the Hugging Face Hub, with your token (hf auth login, or HF_TOKEN)."""
    from workbench.push import PushRequest
    from workbench.push import push as run_push

    run_push(PushRequest(artifact, **options), terminal())
