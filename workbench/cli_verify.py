"""``workbench verify``: check a package, in a folder or on the Hub."""

from __future__ import annotations

from typing import Any

import click

from workbench.cli_options import PATH, terminal


@click.command(short_help="Check a package: digests, contents, provenance, signature, and its weights if you like.")
@click.argument("target", metavar="PATH|OWNER/NAME")
@click.option("--recipe", help="Which package, where a repository holds several.")
@click.option("--revision", help="Branch, tag or commit of a repository. Default: main.")
@click.option("--public-key", type=PATH, help="Key that the signature must be of.")
@click.option("--identity", help="Who must have signed, by Sigstore's certificate; with --issuer.")
@click.option("--issuer", help="Who vouches for that identity, an address.")
@click.option(
    "--rederive",
    type=click.IntRange(min=0),
    default=0,
    metavar="K",
    help="Make K random tensors again from the source and compare bytes; 59 find an alteration of 5% with 95%.",
)
@click.option("--source", metavar="PATH|ID", help="Checkpoint to make them from. Default: what the manifest names.")
@click.option("--calibration", metavar="SOURCE", help="Texts the weights were fitted to. Default: the bundled ones.")
@click.option("--seed", type=int, help="Of the choice of tensors, to repeat one. Default: by chance.")
def verify(**options: Any) -> None:
    """Check a package: whether every file is the one that was packaged, does no harm, and who vouches for it.

    Exits with 0 when nothing that was checked failed, with 1 when something did, or when --rederive could not be done.
    What else could not be checked, such as a signature without --public-key, is listed as not checked.
    """
    from workbench.verify import VerifyRequest
    from workbench.verify import verify as run_verify

    run_verify(VerifyRequest(**options), terminal())
