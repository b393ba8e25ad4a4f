"""From a build to the ledger: each artifact's measured figures beside predictions of the very same workload.

A plan speaks of a typical question; a trial times one of the model's own prompts. Both are only comparable for the same
numbers of tokens, so the report's figures are predicted again for what was timed, by the model that made the plan and
without what the ledger taught it, and the ledger keeps those. Only the profile's own machine tells of the profile.

    keep_in_ledger(work, artifacts)   # the last thing a build does
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from workbench import __version__
from workbench.ledger import Entry, append
from workbench.measure import Measurement
from workbench.plan import PlannedArtifact
from workbench.report import ArtifactReport
from workbench.served import Served
from workbench.speed import PREDICTOR, predict_speed
from workbench.work import Work, engine_name
from workbench.workload import Workload

COMPARED = ("weight_bytes", "peak_memory_bytes", "ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s", "question_s")


def keep_in_ledger(work: Work, artifacts: Sequence[ArtifactReport]) -> None:
    """Append a build's artifacts to the store's ledger, where this machine is the profile's.

    Raises:
        StorageError: the disk refuses.
    """
    if not work.here:
        return
    planned = {row.recipe.name: row for row in work.plan.chosen}
    entries = (_entry(work, planned[one.recipe], one) for one in artifacts if one.error is None)
    append(work.request.out, [entry for entry in entries if entry.figures])


def _entry(work: Work, planned: PlannedArtifact, report: ArtifactReport) -> Entry:
    measured = {m.name: m for m in report.measurements if m.kind == "measured" and m.value is not None}
    workload = timed_workload(measured.values())
    # Of what was timed, the report's predictions are for the very workload; without it they are the typical question's.
    predicted = {m.name: m for m in report.predictions} if workload else {}
    figures: dict[str, dict[str, Any]] = {
        name: {"predicted": predicted[name].value, "measured": measured[name].value, "conditions": _told(workload)}
        for name in COMPARED
        if name in measured and name in predicted
    }
    if report.convert_s is not None and planned.build_cost is not None:
        seconds = planned.build_cost.seconds
        figures["convert_s"] = {"predicted": seconds, "measured": report.convert_s, "conditions": {}}
    speed = predicted.get("ttft_s")
    return Entry(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=work.machine.label,
        profile=work.plan.profile.name,
        model=work.checkpoint.id,
        parameters=work.checkpoint.parameters,
        recipe=report.recipe,
        runtime=planned.recipe.runtime,
        runtime_version=engine_name(planned),
        generation=str(speed.conditions["generation"]) if speed else "",
        workbench=__version__,
        predictor=PREDICTOR,
        figures=figures,
    )


def timed_workload(measured: Iterable[Measurement]) -> Workload | None:
    """What was timed, as the measured figures' conditions tell it; ``None`` where nothing was."""
    for one in measured:
        if one.name == "ttft_s" and "prompt_tokens" in one.conditions:
            told = one.conditions
            return Workload(told["prompt_tokens"], told["new_tokens"], told.get("batch", 1), told.get("beams", 1))
    return None


def predictions_alike(work: Work, planned: PlannedArtifact, workload: Workload) -> dict[str, Measurement]:
    """Figures predicted for one workload on the profile, by name, without what the ledger taught.

    Args:
        work: of the build.
        planned: the artifact's row of the plan.
        workload: that was measured.
    """
    recipe, profile = planned.recipe, work.plan.profile
    served = Served(work.checkpoint, workload.new_tokens)
    memory = served.memory(recipe, profile.backend)
    parameters = work.checkpoint.parameters
    speeds = predict_speed(served.shape, parameters, memory.read, profile, recipe.runtime, workload)
    peak = memory.peak(workload.prompt_tokens + workload.new_tokens, workload.batch, workload.beams)
    sizes = {"weight_bytes": served.file_bytes(recipe), "peak_memory_bytes": peak}
    told = {"runtime": recipe.runtime, **_told(workload)}
    found = [
        Measurement(name, float(value), "bytes", "predicted", "memory model", conditions=told)
        for name, value in sizes.items()
    ]
    return {one.name: one for one in (*found, *speeds)}


def predictions_beside(
    work: Work, planned: PlannedArtifact, measurements: Sequence[Measurement]
) -> tuple[Measurement, ...]:
    """A plan's predictions, with those of what was measured made again for the very workload it was measured on."""
    measured = [one for one in measurements if one.kind == "measured"]
    workload = timed_workload(measured)
    if workload is None:
        return planned.predictions
    alike = predictions_alike(work, planned, workload)
    names = {one.name for one in measured}
    return tuple(alike.get(one.name, one) if one.name in names else one for one in planned.predictions)


def _told(workload: Workload | None) -> dict[str, Any]:
    if workload is None:
        return {}
    return {name: getattr(workload, name) for name in ("prompt_tokens", "new_tokens", "batch", "beams")}
