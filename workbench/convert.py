"""``workbench convert``: one model by one recipe, and on request a comparison of what came out with its source.

    python -m workbench convert --model sqlcoder-nano --recipe gguf-q4_k_m --out nano-q4

What decides an artifact's bytes, and how one that was begun is gone on with, ``workbench/making.py`` says.
"""

from __future__ import annotations

from dataclasses import replace

from workbench.artifact import Artifact
from workbench.calibration import CalibrationRequest
from workbench.catalog import get_recipe, get_runtime
from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.conformance import TEXTS, Subject, check, golden_prompts, is_checked, summary
from workbench.errors import ArtifactError, WorkbenchError
from workbench.machine import describe
from workbench.making import Made, make_artifact, make_job
from workbench.progress import SILENT, Listener
from workbench.recipe import Recipe
from workbench.request import ConvertRequest
from workbench.sizes import size_text
from workbench.trial import TrialTask, run_trial

CHECKED_CONTEXT = 2048  # room for the golden prompts


def convert(request: ConvertRequest, listener: Listener = SILENT) -> Made:
    """Convert a model by one recipe: this stage alone, without evaluation or tracking.

    Raises:
        WorkbenchError: bad input, or a disk that refuses; one sentence says what to do.
    """
    recipe = get_recipe(request.recipe)
    peeked = peek_checkpoint(request.model, request.revision)
    job = make_job(peeked, recipe, request.calibration)  # before gigabytes are fetched
    if request.calibration and job.calibration is None:
        raise WorkbenchError(f"{recipe.name} looks at no calibration texts; leave out --calibration")
    listener.step(f"Convert {peeked.id} by {recipe.name}")
    checkpoint = open_checkpoint(request.model, peeked.revision)
    checkpoint.check_tokenizer()
    checkpoint = replace(checkpoint, prompt_name=request.prompt)
    made = make_artifact(checkpoint, recipe, request.out, listener, request.threads, CalibrationRequest.of(request))
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
