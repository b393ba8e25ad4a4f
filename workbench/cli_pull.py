"""``workbench pull``: fetch a package from the Hub."""

from __future__ import annotations

from typing import Any

import click

from workbench.cli_options import PATH, terminal


@click.command(short_help="Fetch a package from the Hugging Face Hub and check it.")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--revision", help="Branch, tag, refs/pr/N or commit. Default: main.")
@click.option("--recipe", help="Which package, where the repository holds several.")
@click.option(
    "--to", "--out", type=PATH, help="Folder it becomes. Default: NAME, or NAME-RECIPE where there are several."
)
@click.option("--public-key", type=PATH, help="Key of who should have signed it (model-signing).")
@click.option("--identity", help="Who should have signed it by sigstore; with --issuer.")
@click.option("--issuer", help="Who vouches for that identity, an address.")
def pull(repository: str, **options: Any) -> None:
    """Fetch a package from the Hugging Face Hub: what its manifest lists, checked, and whole or not at all.

    What broke off goes on when it is started again. Your token (hf auth login, or HF_TOKEN) is used for private ones.
    """
    from workbench.pull import PullRequest
    from workbench.pull import pull as run_pull

    run_pull(PullRequest(repository, **options), terminal())
