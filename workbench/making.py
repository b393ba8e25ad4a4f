"""From a checkpoint and a recipe to an artifact under its final name.

    made = make_artifact(open_checkpoint("sqlcoder-nano"), get_recipe("gguf-q4_k_m"), Path("nano-q4"))
    made.artifact.path, made.seconds                    # None seconds: it was there already

An artifact is keyed by the digests of its source, the recipe, the calibration texts and the versions of the tools that
took part. One with the same key that is whole on disk is kept instead of made again; one that was begun is gone
on with. The source's digest comes out of the very pass that converts it, so a first conversion reads the weights
once; until then the work is keyed by the source files' sizes and times.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.artifact import Artifact, Manifest, known_files, open_artifact, seal, sha256_json
from workbench.calibration import CalibrationRequest, CalibrationTexts, load_calibration
from workbench.catalog import get_format
from workbench.checkpoint import Checkpoint
from workbench.errors import ArtifactError, PrerequisiteError
from workbench.formats.base import ConversionContext, Format, Options
from workbench.machine import processor_label
from workbench.plugins import installed_version, missing_library
from workbench.processors import available_processors
from workbench.progress import SILENT, Listener
from workbench.recipe import Recipe
from workbench.storage import Stage, check_ours, check_space, folder_bytes, locked, staged


@dataclass(frozen=True)
class Made:
    """An artifact and how it came about; ``seconds`` is ``None`` when it was there already."""

    artifact: Artifact
    seconds: float | None


@dataclass(frozen=True)
class Job:
    """One conversion to be done: everything that decides the artifact's bytes.

    Attributes:
        checkpoint: the source.
        recipe: with options completed.
        weights: the recipe's format.
        options: the recipe's, typed by the format.
        calibration: full training texts, for formats that want them; ``None`` for others.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    weights: Format[Options]
    options: Options
    calibration: CalibrationTexts | None

    def key(self, source: str) -> str:
        """Digest of the work on a source of this digest (or identity)."""
        return sha256_json(
            {
                "source": source,
                "prompt": self.checkpoint.prompt.name,
                "recipe": self.recipe.model_dump(mode="json", exclude={"description", "backends", "default", "accept"}),
                "tools": tool_versions(self.weights.libraries),
                "calibration": self.calibration.digest if self.calibration else sha256_json([]),
            }
        )


def make_job(checkpoint: Checkpoint, recipe: Recipe, calibration: str | None = None) -> Job:
    """Check that a recipe can convert a checkpoint here, and gather what it takes.

    Args:
        checkpoint: the source.
        recipe: with options completed.
        calibration: where the texts are from, for formats that want them; see ``load_calibration``.

    Raises:
        PrerequisiteError: a library is missing.
        WorkbenchError: the format cannot hold this model, or there are no calibration texts.
    """
    weights = get_format(recipe.format)
    missing = missing_library(weights.requires)
    if missing:
        raise PrerequisiteError(f"{recipe.name} {missing}")
    weights.check_architecture(checkpoint)
    options = weights.options_model.model_validate(recipe.options)
    weights.predicted_bytes(checkpoint, options)  # what cannot be converted is refused here, from the headers alone
    texts = load_calibration(calibration, checkpoint.prompt) if weights.wants_calibration(options) else None
    return Job(checkpoint, recipe, weights, options, texts)


def make_artifact(
    checkpoint: Checkpoint,
    recipe: Recipe,
    final: Path,
    listener: Listener = SILENT,
    threads: int = 0,
    calibration: CalibrationRequest | None = None,
) -> Made:
    """Convert, go on with what was begun, or keep an equal artifact that is already there.

    Args:
        checkpoint: the source.
        recipe: with options completed.
        final: folder the artifact will bear.
        listener: hears the progress.
        threads: to convert with; 0 means one per processor. The bytes do not depend on it.
        calibration: on which texts, for formats that want some; default the bundled questions.

    Raises:
        StorageError: the disk is full or may not be written; what is finished is kept for the next run.
        WorkbenchError: the format refuses the checkpoint.
    """
    calibration = calibration or CalibrationRequest()
    job = make_job(checkpoint, recipe, calibration.source)
    check_ours(final, known_files)
    with locked(final, listener.note):
        present = _present(job, final)
        if present:
            return Made(present, None)
        started = time.perf_counter()
        with staged(final, job.key(checkpoint.identity)) as stage:
            if stage.journal.entries:
                listener.note(f"goes on with what an earlier run finished: {len(stage.journal.entries)} parts")
            needed = job.weights.predicted_bytes(checkpoint, job.options)
            needed += job.weights.working_bytes(checkpoint, job.options)
            check_space(final.parent, needed, folder_bytes(stage.folder))
            context = ConversionContext(
                calibration=job.calibration.texts if job.calibration else (),
                progress=lambda done, total, what: listener.advance(what, done, total),
                threads=threads or available_processors(),
                journal=stage.journal,
                calibration_memory=calibration.memory,
            )
            _convert(job, stage, listener, context)
    return Made(open_artifact(final), time.perf_counter() - started)


def _convert(job: Job, stage: Stage, listener: Listener, context: ConversionContext) -> None:
    """Fill the stage's folder and seal it."""
    details = job.weights.convert(job.checkpoint, job.options, stage.folder, context)
    if job.calibration:
        details["calibration"] |= {"source": job.calibration.source, "texts_sha256": job.calibration.digest}
        details["made_on"] = processor_label(details.get("device", "cpu"))  # sums of floats are in its kernels' order
    for line in job.weights.remarks(details):
        listener.note(line)
    seal(stage.folder, _manifest(job, stage.folder, details), context.digests)


def tool_versions(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of the workbench and of the given distributions, without importing them."""
    found = {library: installed_version(library) or "not installed" for library in libraries}
    return {"workbench": __version__, **found}


def _present(job: Job, final: Path) -> Artifact | None:
    """The artifact of this very work, whole, under this name; ``None`` otherwise."""
    try:
        artifact = open_artifact(final)
    except ArtifactError:
        return None
    source = artifact.manifest.source["digest"]
    same = artifact.manifest.build_key == job.key(source) and job.checkpoint.digest == source
    return artifact if same else None


def _manifest(job: Job, folder: Path, details: dict[str, Any]) -> Manifest:
    checkpoint = job.checkpoint
    weight_bytes = sum(file.stat().st_size for file in job.weights.weight_files(folder))
    return Manifest(
        name=job.recipe.name,
        model=checkpoint.model_name,
        architecture=checkpoint.architecture,
        prompt=checkpoint.prompt.name,
        format=job.recipe.format,
        recipe=job.recipe.model_dump(mode="json", exclude={"accept"}),  # a gate may change; ``acceptance`` tells which
        source={"id": checkpoint.id, "revision": checkpoint.revision, "digest": checkpoint.digest},
        files=(),
        weight_bytes=weight_bytes,
        parameters=checkpoint.parameters,
        bits_per_weight=8 * weight_bytes / checkpoint.parameters,
        tool_versions=tool_versions(job.weights.libraries),
        build_key=job.key(checkpoint.digest),
        details=details,
    )
