"""What a package says of how it was made, opened: recipe, source, texts, and whether they can be used here.

Everything stands in a manifest that anybody may have written, so each part is looked at in turn, and what is wrong is
told apart from what is only missing here (``workbench/rederive_source.py``).

Example::

    claim = claim_of(folder, request, SILENT, scratch)
    draft_of(claim).files
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Artifact, Manifest, open_artifact
from workbench.checkpoint import Checkpoint
from workbench.errors import ArtifactError, PrerequisiteError, StorageError, WorkbenchError
from workbench.formats._draft import Draft
from workbench.formats.base import ConversionContext, Format, Options
from workbench.package_files import MANIFEST, check_names
from workbench.plugins import missing_library
from workbench.progress import Listener
from workbench.recipe import Recipe
from workbench.rederive_parts import Source, lists_files, partial_source
from workbench.rederive_source import (
    UncheckableError,
    as_told,
    on_hub,
    recipe_of,
    shown,
    source_of,
    texts_of,
)
from workbench.untrusted_manifest import read_manifest


@dataclass(frozen=True)
class RederiveRequest:
    """What the user asked to be made again.

    Attributes:
        count: of tensors; all where there are no more.
        source: the checkpoint the package was made of, a folder or Hub id; ``None`` means what its manifest names.
        revision: of a Hub id.
        calibration: the texts it was calibrated on; ``None`` means what its manifest names, if that is bundled.
        seed: of the draw; ``None`` makes one.
    """

    count: int
    source: str | None = None
    revision: str | None = None
    calibration: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Claim:
    """What a package says of itself, and what is needed to look at it."""

    artifact: Artifact
    source: Source
    recipe: Recipe
    weights: Format[Options]
    options: Options
    context: ConversionContext

    @property
    def checkpoint(self) -> Checkpoint:
        """Of the source."""
        return self.source.checkpoint


def claim_of(folder: Path, request: RederiveRequest, listener: Listener, scratch: Path) -> Claim:
    """Everything the manifest names, opened and found to be what it names; a source in parts goes to ``scratch``."""
    manifest = read_manifest(folder / MANIFEST)
    artifact = open_artifact(folder)
    recipe, weights, options = recipe_of(manifest)
    missing = missing_library(weights.requires)
    if missing:
        raise PrerequisiteError(f"making {recipe.name} again {missing}")
    calibrated = weights.wants_calibration(options)
    alone = not calibrated and weights.parts_stand_alone(options)
    distant = on_hub(manifest) if alone and request.source is None and lists_files(manifest) else None
    if distant:
        found = partial_source(manifest, *distant, scratch, listener)
        source = Source(as_told(found.checkpoint, manifest), found.copies)
    else:
        source = Source(source_of(manifest, request.source, request.revision, listener), {})
    context = ConversionContext(
        calibration=texts_of(manifest, request.calibration).texts if calibrated else (),
        progress=lambda done, total, what: listener.advance(what, done, total),
        device=_device(manifest) if calibrated else None,
    )
    return Claim(artifact, source, recipe, weights, options, context)


def _device(manifest: Manifest) -> str:
    """Where the package's calibrated parts were computed, if that can be done here too."""
    device = manifest.details.get("device", "cpu")
    if device not in ("cpu", "cuda"):
        raise ArtifactError(f"the manifest names a device that is none: {shown(str(device))!r}")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UncheckableError("the package was calibrated on a CUDA GPU and there is none here; check it on one")
    return str(device)


def draft_of(claim: Claim) -> Draft:
    """The conversion laid out; its files' names are made of what the manifest says."""
    with as_named():
        draft = claim.weights.draft(claim.checkpoint, claim.options, claim.context)
    try:
        check_names(file.name for file in draft.files)
    except ValueError as error:
        raise ArtifactError(f"the manifest's source gives a weight file no name: {shown(str(error))}") from error
    return draft


@contextmanager
def as_named() -> Iterator[None]:
    """A format that refuses the source and the options shows that they are not how the package was made."""
    try:
        yield
    except (PrerequisiteError, StorageError):
        raise
    except WorkbenchError as error:
        raise ArtifactError(f"the source and the recipe cannot have made this: {shown(str(error))}") from error
