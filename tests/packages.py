"""Complete packages of the bundled model, made by its shipped recipes and completed as the command does."""

import dataclasses
from pathlib import Path

from carded import with_results
from made_artifacts import made

from workbench.artifact import open_artifact, write_manifest
from workbench.checkpoint import open_checkpoint
from workbench.nano import MODEL_NAME
from workbench.package import PackageRequest, package


def nano_package(recipe: str, folder: Path, sign_key: Path | None = None) -> Path:
    """A package of the bundled model in ``folder``, with results as a build would have found them."""
    made(recipe, open_checkpoint(MODEL_NAME), folder)
    results = with_results(folder.parent / "store").results
    write_manifest(folder, dataclasses.replace(open_artifact(folder).manifest, results=results))
    package(PackageRequest(folder, sign_key=sign_key))
    return folder
