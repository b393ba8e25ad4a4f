"""From a checkpoint and a recipe to an artifact under its final name.

An artifact is keyed by the digests of its source, the recipe, the calibration texts and the versions of
the tools that took part. One with the same key that is whole on disk is kept instead of made again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench import __version__
from workbench.artifact import Artifact, Manifest, open_artifact, seal, sha256_json, staged
from workbench.catalog import get_format
from workbench.checkpoint import Checkpoint
from workbench.errors import ArtifactError
from workbench.formats.base import ConversionContext, Format, Options
from workbench.plugins import installed_version
from workbench.progress import SILENT, Listener
from workbench.recipe import Recipe


@dataclass(frozen=True)
class Made:
    """An artifact and how it came about; ``seconds`` is ``None`` when it was there already."""

    artifact: Artifact
    seconds: float | None


def make_artifact(
    checkpoint: Checkpoint,
    recipe: Recipe,
    final: Path,
    calibration: Sequence[str] = (),
    listener: Listener = SILENT,
) -> Made:
    """Convert, or keep an equal artifact that is already there.

    Args:
        checkpoint: the source.
        recipe: with options completed.
        final: folder the artifact will bear.
        calibration: full training texts for formats that want them.
        listener: hears the progress.

    Raises:
        StorageError: the disk is full or may not be written; nothing half-made is left.
        WorkbenchError: the format refuses the checkpoint.
    """
    weights = get_format(recipe.format)
    weights.check_architecture(checkpoint)
    texts = tuple(calibration) if weights.needs_calibration else ()
    key = build_key(checkpoint, recipe, weights, texts)
    present = _present(final, key)
    if present:
        return Made(present, None)
    started = time.perf_counter()
    context = ConversionContext(texts, lambda done, total, what: listener.advance(what, done, total))
    options = weights.options_model.model_validate(recipe.options)
    with staged(final) as folder:
        details = weights.convert(checkpoint, options, folder, context)
        seal(folder, _manifest(checkpoint, recipe, weights, folder, key, details))
    return Made(open_artifact(final), time.perf_counter() - started)


def build_key(checkpoint: Checkpoint, recipe: Recipe, weights: Format[Options], calibration: Sequence[str]) -> str:
    """Digest of everything that decides the artifact's bytes."""
    return sha256_json(
        {
            "source": checkpoint.digest,
            "prompt": checkpoint.prompt.name,
            "recipe": recipe.model_dump(mode="json", exclude={"description", "backends"}),
            "tools": tool_versions(weights.libraries),
            "calibration": sha256_json(list(calibration)),
        }
    )


def tool_versions(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of the workbench and of the given distributions, without importing them."""
    found = {library: installed_version(library) or "not installed" for library in libraries}
    return {"workbench": __version__, **found}


def _present(final: Path, key: str) -> Artifact | None:
    """The artifact of this key, whole, under this name; ``None`` otherwise."""
    try:
        artifact = open_artifact(final)
    except ArtifactError:
        return None
    return artifact if artifact.manifest.build_key == key else None


def _manifest(
    checkpoint: Checkpoint,
    recipe: Recipe,
    weights: Format[Options],
    folder: Path,
    key: str,
    details: dict[str, object],
) -> Manifest:
    weight_bytes = sum(file.stat().st_size for file in weights.weight_files(folder))
    return Manifest(
        name=recipe.name,
        model=checkpoint.model_name,
        architecture=checkpoint.architecture,
        prompt=checkpoint.prompt.name,
        format=recipe.format,
        recipe=recipe.model_dump(mode="json"),
        source={"id": checkpoint.id, "revision": checkpoint.revision, "digest": checkpoint.digest},
        files=(),
        weight_bytes=weight_bytes,
        parameters=checkpoint.parameters,
        bits_per_weight=8 * weight_bytes / checkpoint.parameters,
        tool_versions=tool_versions(weights.libraries),
        build_key=key,
        details=details,
    )
