"""The build: plan, convert, run, compare with the source, score, judge, report, record. Reads top to bottom.

    python -m workbench build --profile rtx4090

Each artifact is run in a process of its own (``workbench.trial``); its answers are then scored on PostgreSQL here.
The report is on disk before the tracker is asked for anything. A build whose every input is that of the one before is
that one: its report is shown again.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.acceptance import judge_all
from workbench.artifact import open_artifact
from workbench.assemble import Judged, artifact_reports, build_report
from workbench.divergences import diverge_all, with_divergences
from workbench.errors import WorkbenchError
from workbench.ledger_entries import keep_in_ledger
from workbench.making import Made
from workbench.plots import write_plots
from workbench.progress import SILENT, Listener
from workbench.reference import find_reference, noise_floor, run_again
from workbench.report import BuildReport, read_report
from workbench.report_html import PAGE_NAME, write_page
from workbench.report_page import write_report
from workbench.request import BuildRequest
from workbench.scoring import open_server
from workbench.stages import Outcome, conform_all, convert_all, run_all, score_all
from workbench.storage import locked
from workbench.tables import LEGEND, comparison_table
from workbench.trackers.base import TrackedBuild, TrackingReceipt
from workbench.tracking import tracked_build
from workbench.work import Work, prepare


@dataclass(frozen=True)
class BuildOutcome:
    """A finished build: the report, where it lies, and where it was recorded."""

    report: BuildReport
    folder: Path
    receipt: TrackingReceipt


def build(request: BuildRequest, listener: Listener = SILENT) -> BuildOutcome:
    """Build, measure, score and record every recipe that suits the profile.

    Raises:
        WorkbenchError: bad input, or nothing that could be built; one sentence says what to do.
    """
    started = time.perf_counter()
    work = prepare(request, listener)
    with locked(work.report_folder, listener.note):
        outcome = _unchanged(work) or _build(work, started)
    listener.step("Result")
    listener.table(comparison_table(outcome.report), LEGEND)
    return outcome


def _build(work: Work, started: float) -> BuildOutcome:
    with open_server(work.request.database_url) as server:  # first, so that a missing server costs no conversion
        made = convert_all(work)
        trials = run_all(work, made)
        again = run_again(work, made, trials)
        made = conform_all(work, made, trials)
        divergences = diverge_all(work, made, trials)
        verdicts = score_all(work, trials, server)
        noise = noise_floor(work, trials, again, verdicts, server)
        reference = find_reference(work, made, verdicts, noise, server)
    made, accepted = judge_all(work, made, verdicts, reference)
    judged = Judged(verdicts, reference, noise, accepted)
    artifacts = with_divergences(artifact_reports(work, made, trials, judged), divergences)
    report = build_report(work, artifacts, judged, time.perf_counter() - started)
    write_report(report, work.report_folder)
    keep_in_ledger(work, artifacts)
    write_page(report, work.report_folder)
    receipt = _record(work, report, made)
    if not any(artifact.error for artifact in artifacts):
        work.steps.remember(_step(work), work.key() or "", asdict(receipt))
    return BuildOutcome(report, work.report_folder, receipt)


def _step(work: Work) -> str:
    return f"build-{work.plan.profile.name}"


def _unchanged(work: Work) -> BuildOutcome | None:
    """The build before, if all that went into it is what goes into this one and all that came of it is there."""
    key = work.key()
    receipt = work.steps.recall(_step(work), key) if key else None
    if receipt is None:
        return None
    try:
        report = read_report(work.report_folder)
        for artifact in report.artifacts:
            if open_artifact(Path(artifact.path)).manifest.build_key != artifact.build_key:
                return None
        if not (work.report_folder / PAGE_NAME).is_file():
            return None
    except WorkbenchError:
        return None  # something is missing: the stages find out what, and make it again
    work.listener.step("Nothing has changed since the build before; its results are kept (--again makes them anew)")
    return BuildOutcome(report, work.report_folder, TrackingReceipt(**receipt))


def _record(work: Work, report: BuildReport, made: dict[str, Outcome[Made]]) -> TrackingReceipt:
    """Hand the finished report to MLflow."""
    from workbench.trackers.mlflow import TRACKER

    work.listener.step("Record in MLflow")
    artifacts = {name: one.artifact for name, one in made.items() if not isinstance(one, WorkbenchError)}
    write_plots(report, work.report_folder)
    tracked = tracked_build(report, work.report_folder, artifacts)
    receipt = TRACKER.log_build(tracked, work.request.tracking_uri, work.request.out, work.request.log_weights)
    for line in recorded_at(receipt, tracked):
        work.listener.note(line)
    return receipt


def recorded_at(receipt: TrackingReceipt, tracked: TrackedBuild) -> list[str]:
    """Where a build was recorded, a line each; a local store's pages come with ``workbench ui``, which names them."""
    lines = [f"{receipt.uri}, experiment {tracked.experiment!r}, run {receipt.parent_run_id}"]
    on_a_server = receipt.runs_page.startswith("http")
    if on_a_server and receipt.compare_page:
        lines += [f"all runs: {receipt.runs_page}", f"these side by side: {receipt.compare_page}"]
    if receipt.versions:
        said = ", ".join(f"{recipe} is version {version}" for recipe, version in receipt.versions.items())
        lines.append(f"registered model {tracked.choice.model if tracked.choice else ''!r}: {said}")
    if on_a_server and receipt.model_page:
        lines.append(f"its versions: {receipt.model_page}")
    return lines
