"""From what the stages found to the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workbench.acceptance import Reference
from workbench.command_line import build_command
from workbench.errors import WorkbenchError
from workbench.flipped import flipped_questions, with_answers
from workbench.ledger_entries import predictions_beside
from workbench.making import Made, tool_versions
from workbench.measurements import artifact_measurements
from workbench.nano import DATA_DIR
from workbench.plan import PlannedArtifact, plan_record
from workbench.predictions import Prediction, digest_of, write_predictions
from workbench.report import ArtifactReport, BuildReport, SetScores, recommend
from workbench.scoring import judged_predictions, set_scores, split_by_set
from workbench.stages import Outcome
from workbench.tables import score_text
from workbench.trial import TrialResult
from workbench.work import REPORTED_TOOLS, Work, engine_name

if TYPE_CHECKING:
    from workbench.evals.sql_accuracy import Verdict
    from workbench.questions import QuestionSet


@dataclass(frozen=True)
class Judged:
    """What the answers were worth.

    Attributes:
        verdicts: by recipe and question set.
        reference: what the others are compared with, if there is anything.
        noise: what flips between two runs of the same weights; see ``workbench/reference.py``.
        accepted: what the gates said, by recipe; see ``workbench/acceptance.py``.
    """

    verdicts: dict[str, list[list[Verdict]]]
    reference: Reference | None
    noise: dict[str, Any]
    accepted: dict[str, dict[str, Any]]


def artifact_reports(
    work: Work, made: dict[str, Outcome[Made]], trials: dict[str, Outcome[TrialResult]], judged: Judged
) -> tuple[ArtifactReport, ...]:
    """Everything known about each artifact; predictions are written beside the report."""
    reports = []
    for planned in work.plan.chosen:
        name = planned.recipe.name
        report = _artifact_report(work, planned, made[name], trials[name])
        sets = _scored_sets(work, name, trials[name], judged)
        reports.append(dataclasses.replace(report, sets=sets, acceptance=judged.accepted.get(name, {})))
    return tuple(reports)


def _artifact_report(
    work: Work, planned: PlannedArtifact, made: Outcome[Made], trial: Outcome[TrialResult]
) -> ArtifactReport:
    """Everything but the scores."""
    common = ArtifactReport(
        recipe=planned.recipe.name,
        path=str(work.folder / planned.recipe.name),
        runtime=engine_name(planned),
        device=work.device,
        predictions=planned.predictions,
    )
    if isinstance(made, WorkbenchError):
        return dataclasses.replace(common, error=str(made))
    manifest = made.artifact.manifest
    common = dataclasses.replace(
        common,
        reused=made.seconds is None,
        convert_s=made.seconds,
        build_key=manifest.build_key,
        weight_bytes=manifest.weight_bytes,
        bits_per_weight=manifest.bits_per_weight,
        conformance=manifest.conformance,
    )
    if isinstance(trial, WorkbenchError):
        return dataclasses.replace(common, error=str(trial))
    figures = tuple(artifact_measurements(planned, manifest, trial, work.machine.label, work.here))
    return dataclasses.replace(
        common,
        measurements=figures,
        predictions=predictions_beside(work, planned, figures),
        notes=tuple(trial.notes),
    )


def _scored_sets(work: Work, name: str, trial: Outcome[TrialResult], judged: Judged) -> tuple[SetScores, ...]:
    """Scores of one artifact, set by set."""
    if isinstance(trial, WorkbenchError):
        return ()
    reference = judged.reference
    compared = None if reference is None or reference.is_artifact(name) else reference.verdicts
    answers = split_by_set(work.sets, trial.answers)
    tokens = split_by_set(work.sets, trial.tokens) if trial.tokens else None
    scored = []
    for index, one in enumerate(work.sets):
        own = judged.verdicts[name][index]
        found = set_scores(one, own, compared[index] if compared else None)
        scored.append(dataclasses.replace(found, flips=with_answers(found.flips, own)))
        told = _predictions(work, name, index, answers[index], tokens[index] if tokens else None)
        write_predictions(
            work.report_folder / "predictions" / f"{name}.{one.name}.jsonl", judged_predictions(one, told, own)
        )
    work.listener.note(f"{name}: " + ", ".join(f"{one.question_set} {score_text(one.overall)}" for one in scored))
    return tuple(scored)


def _predictions(
    work: Work, name: str, index: int, answers: Sequence[str], tokens: Sequence[Sequence[int]] | None
) -> list[Prediction]:
    """One artifact's answers to one set, in the portable form."""
    planned = next(row for row in work.plan.chosen if row.recipe.name == name)
    task, asked = work.task(planned), work.sets[index]
    common = Prediction(
        asked.name,
        "",
        "",
        model=f"{work.checkpoint.model_name} {name}",
        engine=engine_name(planned),
        beams=task.beams,
        further={"prompt": work.checkpoint.prompt.name, "max_new_tokens": task.max_new_tokens},
    )
    return [
        dataclasses.replace(
            common,
            question_id=question.id,
            text=answers[place],
            prompt_sha256=digest_of(work.shown[index][place]),
            tokens=tuple(tokens[place]) if tokens else (),
        )
        for place, question in enumerate(asked.questions)
    ]


def _flipped(work: Work, artifacts: Sequence[ArtifactReport], reference: Reference | None) -> dict[str, Any]:
    """The questions that flipped in any artifact, by set."""
    found: dict[str, Any] = {}
    for asked, verdicts in zip(work.sets, reference.verdicts if reference else (), strict=False):
        flips = [one.flips for artifact in artifacts for one in artifact.sets if one.question_set == asked.name]
        names = {flipped["question_id"] for one in flips if one for flipped in one["flipped"]}
        if names and verdicts is not None:
            found[asked.name] = flipped_questions(asked, verdicts, names)
    return found


def source_name(asked: QuestionSet) -> str:
    """Where a question set is from: ``bundled``, or its file."""
    file = asked.source
    return "bundled" if file is None or file.is_relative_to(DATA_DIR) else str(file.resolve())


def build_report(work: Work, artifacts: tuple[ArtifactReport, ...], judged: Judged, seconds: float) -> BuildReport:
    """The whole report, recommendation included."""
    recommended, reason = recommend(artifacts, work.plan.profile.name)
    return BuildReport(
        model=work.checkpoint.id,
        profile=work.plan.profile.name,
        profile_is_here=work.here,
        machine=work.machine.label,
        context=work.plan.context,
        beams=work.request.beams,
        prompt=work.checkpoint.prompt.name,
        source={
            "id": work.checkpoint.id,
            "revision": work.checkpoint.revision,
            "digest": work.checkpoint.digest,
            "parameters": work.checkpoint.parameters,
        },
        question_sets=tuple(
            {"name": one.name, "questions": len(one.questions), "digest": one.digest, "source": source_name(one)}
            for one in work.sets
        ),
        reference=judged.reference.record() if judged.reference else {},
        noise=judged.noise,
        flipped=_flipped(work, artifacts, judged.reference),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=build_command(work.request),
        plan=plan_record(work.plan),
        artifacts=artifacts,
        recommended=recommended,
        reason=reason,
        seconds=seconds,
        tool_versions=tool_versions(REPORTED_TOOLS),
    )
