"""``workbench package``: complete an artifact's folder for those it is handed to."""

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
def package(artifact: Path, **options: Any) -> None:
    """Complete an artifact's folder for those it is handed to."""
    from workbench.package import PackageRequest
    from workbench.package import package as run_package

    run_package(PackageRequest(artifact, **options), terminal())
