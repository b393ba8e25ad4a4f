"""The build's stage of divergences: how far each artifact's next-token distributions lie from the reference's.

The reference is the first 16-bit artifact. Its engine writes its distributions to disk, then every artifact's engine
compares its own with them, each in a process of its own (``workbench/trial.py``). Where the build has no 16-bit
artifact, or it does not fit this machine's memory, the source itself is run in float32, block by block
(``workbench/streamed_model.py``). Its size does not matter then, but its arithmetic does: a model of 15 billion
parameters takes two cores minutes a question, so fewer questions are compared. How many is in the report.

    python -m workbench build --profile cpu --divergence 64
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.artifact import Artifact, sha256_json
from workbench.errors import WorkbenchError
from workbench.forced_texts import ForcedText, Limits, forced_texts
from workbench.making import Made
from workbench.plan import PlannedArtifact
from workbench.reference import reference_row
from workbench.reference_rows import Comparison, most_rows, write_rows
from workbench.report import ArtifactReport
from workbench.stages import Outcome, check_memory
from workbench.tables import mean_text
from workbench.trial import TrialResult, run_trial
from workbench.work import DIVERGENCE_VERSION, Work, engine_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOURCE = "the source in float32"
# Two cores of 2020 do this in half an hour; the bundled model needs a five-hundredth of it for its 64 questions.
SOURCE_OPERATIONS = 2e14


@dataclass(frozen=True)
class ReferenceRows:
    """What the others are compared with.

    Attributes:
        name: recipe, or ``SOURCE``.
        texts: that are read.
        rows: file of its distributions; named by all that decides them, so it holds them if it is there.
    """

    name: str
    texts: list[ForcedText]
    rows: Path


def diverge_all(
    work: Work, made: dict[str, Outcome[Made]], trials: dict[str, Outcome[TrialResult]]
) -> dict[str, dict[str, Any]]:
    """What the report says of each artifact that ran: figures by part, or under ``missing`` why there are none."""
    ran = [
        (planned, one.artifact)
        for planned in work.plan.chosen
        if not isinstance(one := made[planned.recipe.name], WorkbenchError)
        and not isinstance(trials[planned.recipe.name], WorkbenchError)
    ]
    if not ran or not work.request.divergence:
        return {}
    work.listener.step("Compare next-token distributions with the reference's")
    try:
        reference = _reference(work, ran)
    except WorkbenchError as error:
        work.listener.note(f"failed: {error}")
        return {planned.recipe.name: {"missing": f"no reference: {error}"} for planned, _ in ran}
    told = {}
    for planned, artifact in ran:
        try:
            figures = _figures(work, planned, artifact, reference)
        except WorkbenchError as error:
            figures = {"missing": str(error)}
        told[planned.recipe.name] = {"reference": reference.name, **figures}
        work.listener.note(f"{planned.recipe.name}: {summary(told[planned.recipe.name])}")
    return told


def with_divergences(
    reports: Sequence[ArtifactReport], told: Mapping[str, dict[str, Any]]
) -> tuple[ArtifactReport, ...]:
    """The artifacts' reports with what ``diverge_all`` told of them."""
    found = []
    for report in reports:
        record = told.get(report.recipe, {})
        notes = (f"no divergence: {record['missing']}",) if "missing" in record else ()
        found.append(replace(report, divergence=record, notes=(*report.notes, *notes)))
    return tuple(found)


def summary(record: dict[str, Any]) -> str:
    """One line for people."""
    if "answers" not in record:
        return f"not compared: {record.get('missing', 'it was not asked for')}"
    one = record["answers"]
    return (
        f"KL {mean_text(one['kl_nats'])} nats, same token first {one['same_top']['value']:.2%}, "
        f"{one['tokens']} tokens of {one['questions']} answers"
    )


def _reference(work: Work, ran: Sequence[tuple[PlannedArtifact, Artifact]]) -> ReferenceRows:
    """The reference with its rows on disk, made if they are not there."""
    row = reference_row(work.plan)
    whole = next((pair for pair in ran if pair[0] is row), None)
    vocabulary = work.checkpoint.config["vocab_size"]
    limits = Limits(work.request.divergence, work.plan.context, most_rows(vocabulary))
    if whole is None:
        limits = replace(limits, tokens=SOURCE_OPERATIONS / (2 * work.checkpoint.parameters))
    texts = forced_texts(work.checkpoint, work.sets, limits)
    if not texts:
        raise WorkbenchError(f"no question fits the context of {work.plan.context} tokens; raise --context")
    maker = [whole[1].manifest.build_key, *_where(work, whole[0])] if whole else [work.checkpoint.digest]
    digest = sha256_json([DIVERGENCE_VERSION, maker, [vars(text) for text in texts]])
    name = whole[0].recipe.name if whole else SOURCE
    reference = ReferenceRows(name, texts, _folder(work) / f"rows-{work.plan.profile.name}-{digest[:24]}.npy")
    if work.request.again or not reference.rows.is_file():
        for old in _folder(work).glob(f"*rows-{work.plan.profile.name}-*.npy*"):
            old.unlink()  # of other inputs, or left half-written when a build was killed
        if whole:
            figures = _run(work, *whole, Comparison(texts, str(reference.rows), write=True))
            work.steps.remember(*_step(work, *whole, reference), figures)
        else:
            _run_source(work, reference)
    return reference


def _folder(work: Work) -> Path:
    return work.folder / "steps"


def _where(work: Work, planned: PlannedArtifact) -> list[Any]:
    """What else decides an engine's arithmetic."""
    return [engine_name(planned), work.machine.label, work.device, work.request.threads]


def _figures(work: Work, planned: PlannedArtifact, artifact: Artifact, reference: ReferenceRows) -> dict[str, Any]:
    """One artifact's figures, or those of before."""
    step, key = _step(work, planned, artifact, reference)
    known: dict[str, Any] | None = work.steps.recall(step, key)
    if known:
        return known
    figures = _run(work, planned, artifact, Comparison(reference.texts, str(reference.rows)))
    work.steps.remember(step, key, figures)
    return figures


def _step(work: Work, planned: PlannedArtifact, artifact: Artifact, reference: ReferenceRows) -> tuple[str, str]:
    """Name and key under which figures are kept."""
    key = sha256_json([reference.rows.name, artifact.manifest.build_key, *_where(work, planned)])
    return f"divergence-{work.plan.profile.name}-{planned.recipe.name}", key


def _run(work: Work, planned: PlannedArtifact, artifact: Artifact, comparison: Comparison) -> dict[str, Any]:
    """What an engine says in a process of its own, which does nothing else."""
    asked = work.task(planned)
    check_memory(planned, artifact, asked.device)
    task = replace(asked, prompts=[], beams=1, timed_prompt=None, texts=[], golden=[], comparison=comparison)
    return run_trial(task, lambda done, total: work.listener.advance("texts", done, total)).divergence


def _run_source(work: Work, reference: ReferenceRows) -> None:
    """The source's own rows, computed block by block here."""
    from workbench.processors import available_processors
    from workbench.streamed_model import StreamedModel
    from workbench.workers import Workers

    work.listener.note(f"without a 16-bit artifact that ran here, {SOURCE} is the reference")
    texts = reference.texts
    wanted = [list(range(text.first - 1, len(text.tokens) - 1)) for text in texts]
    with Workers(work.request.threads or available_processors()) as workers:
        found = StreamedModel(work.checkpoint, workers).run([text.tokens for text in texts], wanted)

    def rows() -> Iterator[NDArray[np.float32]]:
        for one in found:
            yield one.numpy()

    for _ in write_rows(reference.rows, texts, rows()):
        pass
