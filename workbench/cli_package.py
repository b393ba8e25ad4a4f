"""``workbench package``: complete an artifact's folder for those it is handed to; ``workbench signing-key``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from workbench.cli_options import PATH, terminal


@click.command(short_help="Complete an artifact with its card, licence, proof and serve commands.")
@click.argument("artifact", type=PATH)
@click.option(
    "--report",
    multiple=True,
    type=PATH,
    help="Report of a build to carry, a file or its folder; repeatable. Default: those of the store it lies in.",
)
@click.option("--source", metavar="PATH|ID", help="The checkpoint it was made of, where it lies elsewhere by now.")
@click.option("--sign-key", type=PATH, metavar="FILE", help="Sign with this private key (see: workbench signing-key).")
@click.option("--keyless", is_flag=True, help="Sign with the identity of the workflow that runs this, by Sigstore.")
@click.option("--repository", metavar="OWNER/NAME", help="Where it will lie on the Hub, for the commands it shows.")
def package(artifact: Path, **options: Any) -> None:
    """Complete an artifact's folder for those it is handed to."""
    from workbench.package import PackageRequest
    from workbench.package import package as run_package

    run_package(PackageRequest(artifact, **options), terminal())


@click.command("signing-key", short_help="Make a key to sign packages with.")
@click.argument("path", type=PATH)
def signing_key(path: Path) -> None:
    """Make a key to sign packages with: the private half at PATH, the public half beside it (PATH.pub)."""
    from workbench.signing_keys import make_key

    public = make_key(path)
    click.echo(f"{path}: keep it to yourself\n{public}: give it to those who check (workbench verify --public-key)")
