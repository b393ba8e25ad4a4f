"""From a checkpoint and a recipe to an artifact under its final name.

    python -m workbench convert --model sqlcoder-nano --recipe gguf-q4_k_m --out nano-q4

An artifact is keyed by the digests of its source, the recipe, the calibration texts and the versions of the tools that
took part. One with the same key that is whole on disk is kept instead of made again; one that was begun is gone
on with. The source's digest comes out of the very pass that converts it, so a first conversion reads the weights
once; until then the work is keyed by the source files' sizes and times.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.artifact import Artifact, Manifest, known_files, open_artifact, seal, sha256_json
from workbench.asking import calibration_texts
from workbench.catalog import get_format, get_recipe, get_runtime
from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.conformance import TEXTS, Subject, check, golden_prompts, is_checked, summary
from workbench.errors import ArtifactError, PrerequisiteError
from workbench.formats.base import ConversionContext, Format, Options
from workbench.machine import describe
from workbench.plugins import installed_version, missing_library
from workbench.processors import available_processors
from workbench.progress import SILENT, Listener
from workbench.recipe import Recipe
from workbench.request import ConvertRequest
from workbench.sizes import size_text
from workbench.storage import Stage, check_ours, check_space, folder_bytes, locked, staged
from workbench.trial import TrialTask, run_trial

CHECKED_CONTEXT = 2048  # room for the golden prompts


@dataclass(frozen=True)
class Made:
    """An artifact and how it came about; ``seconds`` is ``None`` when it was there already."""

    artifact: Artifact
    seconds: float | None


def convert(request: ConvertRequest, listener: Listener = SILENT) -> Made:
    """Convert a model by one recipe: this stage alone, without evaluation or tracking.

    Raises:
        WorkbenchError: bad input, or a disk that refuses; one sentence says what to do.
    """
    recipe = get_recipe(request.recipe)
    peeked = peek_checkpoint(request.model, request.revision)
    make_job(peeked, recipe)  # before gigabytes are fetched
    listener.step(f"Convert {peeked.id} by {recipe.name}")
    checkpoint = open_checkpoint(request.model, peeked.revision)
    checkpoint.check_tokenizer()
    checkpoint = replace(checkpoint, prompt_name=request.prompt)
    made = make_artifact(checkpoint, recipe, request.out, listener, request.threads)
    manifest = made.artifact.manifest
    size = f"{size_text(manifest.weight_bytes)}, {manifest.bits_per_weight:.2f} bits per weight"
    how = "unchanged, kept" if made.seconds is None else f"in {made.seconds:.1f} s"
    listener.note(f"{request.out}: {size}, {how}")
    return replace(made, artifact=_checked(checkpoint, recipe, made.artifact, listener)) if request.check else made


def _checked(checkpoint: Checkpoint, recipe: Recipe, artifact: Artifact, listener: Listener) -> Artifact:
    """The artifact with the outcome of its comparison with the source in its manifest.

    Raises:
        ArtifactError: it does not compute what its source computes.
    """
    runtime = get_runtime(recipe.runtime)
    if not is_checked(artifact, runtime.label):
        listener.step(f"Compare it with its source, in {runtime.title}")
        machine = describe(quick=True)
        task = TrialTask(
            artifact=str(artifact.path),
            runtime=runtime.name,
            device=machine.best_device if machine.best_device in runtime.devices else "cpu",
            context=min(checkpoint.context_length, CHECKED_CONTEXT),
            threads=machine.cores,
            prompts=[],
            stop=list(checkpoint.prompt.stop),
            max_new_tokens=1,
            texts=list(TEXTS),
            golden=golden_prompts(checkpoint),
        )
        evidence = run_trial(task).evidence
        assert evidence is not None  # golden prompts were given
        (artifact,) = check(checkpoint, [Subject(artifact, runtime.label, evidence)])
    outcome = summary(artifact.manifest.conformance)
    if not artifact.manifest.conformance["passed"]:
        raise ArtifactError(f"{artifact.path} {outcome}; do not use it")
    listener.note(outcome)
    return artifact


@dataclass(frozen=True)
class Job:
    """One conversion to be done: everything that decides the artifact's bytes.

    Attributes:
        checkpoint: the source.
        recipe: with options completed.
        weights: the recipe's format.
        options: the recipe's, typed by the format.
        calibration: full training texts, for formats that want them.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    weights: Format[Options]
    options: Options
    calibration: Sequence[str]

    def key(self, source: str) -> str:
        """Digest of the work on a source of this digest (or identity)."""
        return sha256_json(
            {
                "source": source,
                "prompt": self.checkpoint.prompt.name,
                "recipe": self.recipe.model_dump(mode="json", exclude={"description", "backends", "default", "accept"}),
                "tools": tool_versions(self.weights.libraries),
                "calibration": sha256_json(list(self.calibration)),
            }
        )


def make_job(checkpoint: Checkpoint, recipe: Recipe) -> Job:
    """Check that a recipe can convert a checkpoint here, and gather what it takes.

    Raises:
        PrerequisiteError: a library is missing.
        WorkbenchError: the format cannot hold this model.
    """
    weights = get_format(recipe.format)
    missing = missing_library(weights.requires)
    if missing:
        raise PrerequisiteError(f"{recipe.name} {missing}")
    weights.check_architecture(checkpoint)
    options = weights.options_model.model_validate(recipe.options)
    weights.predicted_bytes(checkpoint, options)  # what cannot be converted is refused here, from the headers alone
    texts = calibration_texts(checkpoint) if weights.wants_calibration(options) else ()
    return Job(checkpoint, recipe, weights, options, texts)


def make_artifact(
    checkpoint: Checkpoint, recipe: Recipe, final: Path, listener: Listener = SILENT, threads: int = 0
) -> Made:
    """Convert, go on with what was begun, or keep an equal artifact that is already there.

    Args:
        checkpoint: the source.
        recipe: with options completed.
        final: folder the artifact will bear.
        listener: hears the progress.
        threads: to convert with; 0 means one per processor. The bytes do not depend on it.

    Raises:
        StorageError: the disk is full or may not be written; what is finished is kept for the next run.
        WorkbenchError: the format refuses the checkpoint.
    """
    job = make_job(checkpoint, recipe)
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
            _convert(job, stage, listener, threads or available_processors())
    return Made(open_artifact(final), time.perf_counter() - started)


def _convert(job: Job, stage: Stage, listener: Listener, threads: int) -> None:
    """Fill the stage's folder and seal it."""
    context = ConversionContext(
        calibration=job.calibration,
        progress=lambda done, total, what: listener.advance(what, done, total),
        threads=threads,
        journal=stage.journal,
    )
    details = job.weights.convert(job.checkpoint, job.options, stage.folder, context)
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
