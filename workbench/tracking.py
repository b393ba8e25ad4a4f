"""A build report in an experiment tracker's terms: one parent run, one child per artifact.

Metric names are the same for every model and profile, carry their unit, and say ``predicted/`` where the
figure is a prediction, so that runs compare in the tracker's own table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.artifact import MANIFEST_NAME, Artifact
from workbench.measure import Measurement
from workbench.report import ArtifactReport, BuildReport, SetScores, with_verdict
from workbench.trackers.base import TrackedBuild, TrackedRun

_METRIC_NAMES = {"questions": "questions_count", "tokens": "tokens_count", "same_top": "same_top_ratio"}


def tracked_build(report: BuildReport, folder: Path, artifacts: Mapping[str, Artifact]) -> TrackedBuild:
    """Params, metrics, tags and files of one build.

    Args:
        report: the finished report.
        folder: holds ``report.json``, ``report.md`` and ``predictions/``.
        artifacts: by recipe name.
    """
    name = report.model.rstrip("/").rsplit("/", 1)[-1]
    common = {
        "model": report.model,
        "profile": report.profile,
        "prompt": report.prompt,
        "machine": report.machine,
        "beams": str(report.beams),
    }
    parent = TrackedRun(
        name=f"{name} on {report.profile}",
        params={
            **common,
            "context_tokens": str(report.context),
            "source_digest": report.source["digest"],
            "source_revision": str(report.source["revision"]),
            **{f"questions_digest.{one['name']}": one["digest"] for one in report.question_sets},
            **{f"reference_{key}": value for key, value in report.reference.items()},
        },
        metrics={"build_s": report.seconds, **_noise_metrics(report)},
        tags={"profile": report.profile, "recommended": report.recommended or "none", **_refuted_tag(report)},
        artifacts=[folder / "report.json", folder / "report.md"],
        weight_reference=None,
        weight_files=[],
    )
    children = [
        _child(report, one, common, folder, artifacts[one.recipe])
        for one in report.artifacts
        if one.recipe in artifacts
    ]
    return TrackedBuild(f"sqlcoder-workbench/{name}", parent, children)


def _child(
    report: BuildReport, one: ArtifactReport, common: dict[str, str], folder: Path, artifact: Artifact
) -> TrackedRun:
    manifest = artifact.manifest
    options = {f"option.{key}": str(value) for key, value in manifest.recipe["options"].items()}
    predictions = [folder / "predictions" / f"{one.recipe}.{scored.question_set}.jsonl" for scored in one.sets]
    return TrackedRun(
        name=one.recipe,
        params={
            **common,
            "recipe": one.recipe,
            "format": manifest.format,
            "runtime": one.runtime,
            "device": one.device,
            "build_key": one.build_key,
            "source_digest": manifest.source["digest"],
            **options,
            **_gate_params(one),
        },
        metrics=_metrics(one),
        tags={
            "profile": report.profile,
            "format": manifest.format,
            "recommended": str(one.recipe == report.recommended).lower(),
            **({"accepted": one.acceptance["verdict"]} if one.acceptance else {}),
            **({"error": one.error} if one.error else {}),
        },
        artifacts=[artifact.path / MANIFEST_NAME, *predictions],
        weight_reference=artifact.path,
        weight_files=[artifact.path / entry.path for entry in manifest.files],
    )


def _metrics(one: ArtifactReport) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for measurement in one.measurements:
        metrics.update(_measurement_metrics(measurement))
    for scored in one.sets:
        metrics.update(_score_metrics(scored))
    if one.convert_s is not None:
        metrics["convert_s"] = one.convert_s
    return metrics | _divergence_metrics(one) | _gate_metrics(one)


def _gate_params(one: ArtifactReport) -> dict[str, str]:
    """What the accuracy gate asked."""
    gate = one.acceptance
    if not gate:
        return {}
    return {"accept.loss_max_points": str(gate["loss_max_points"]), "accept.confidence": str(gate["confidence"])}


def _gate_metrics(one: ArtifactReport) -> dict[str, float]:
    """What it found: the loss as seen and its bounds, and the questions it took or would take."""
    gate = one.acceptance
    if not gate or gate["loss_points"] is None:
        return {}
    least, greatest = gate["loss_bounds_points"]
    metrics = {
        "accept/loss_points": gate["loss_points"],
        "accept/loss_least_points": least,
        "accept/loss_greatest_points": greatest,
        "accept/questions_count": gate["questions"],
    }
    needed = gate["questions_needed"]
    return metrics if needed is None else {**metrics, "accept/questions_needed_count": needed}


def _noise_metrics(report: BuildReport) -> dict[str, float]:
    """What differed between two runs of the reference."""
    noise = report.noise
    if not noise:
        return {}
    return {
        "noise/flips_count": noise["right_to_wrong"] + noise["wrong_to_right"],
        "noise/texts_differing_count": noise["texts_differing"],
        "noise/questions_count": noise["questions"],
    }


def _refuted_tag(report: BuildReport) -> dict[str, str]:
    refuted = ", ".join(artifact.recipe for artifact in with_verdict(report, "refuted"))
    return {"refuted": refuted} if refuted else {}


def _divergence_metrics(one: ArtifactReport) -> dict[str, float]:
    """``divergence/kl_nats`` ... of the answers; those of the prompts under ``divergence/prompts/``."""
    metrics: dict[str, float] = {}
    for part, prefix in (("answers", "divergence/"), ("prompts", "divergence/prompts/")):
        figures = one.divergence.get(part, {})
        for name, value in figures.items():
            metric = prefix + _METRIC_NAMES.get(name, name)
            if isinstance(value, dict):
                metrics |= {metric: value["value"]} | ({f"{metric}_se": value["se"]} if value["se"] is not None else {})
            elif value is not None:
                metrics[metric] = value
    return metrics


def _measurement_metrics(measurement: Measurement) -> dict[str, float]:
    if measurement.value is None:
        return {}
    name = measurement.name if measurement.kind == "measured" else f"predicted/{measurement.name}"
    metrics = {name: float(measurement.value)}
    if measurement.p95 is not None:
        metrics[f"p95/{name}"] = float(measurement.p95)
    return metrics


def _score_metrics(scored: SetScores) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for score in scored.scores:
        if score.total == 0:
            continue
        # sql_accuracy/category/date -> heldout/sql_accuracy_ratio/category/date
        head, slash, group = score.name.partition("/")
        metrics[f"{scored.question_set}/{head}_ratio{slash}{group}"] = score.value
    low, high = scored.overall.interval
    metrics[f"{scored.question_set}/{scored.overall.name}_ratio_low_95"] = low
    metrics[f"{scored.question_set}/{scored.overall.name}_ratio_high_95"] = high
    if scored.flips:
        metrics |= _flip_metrics(f"{scored.question_set}/", scored.flips)
    return metrics


def _flip_metrics(prefix: str, flips: Mapping[str, Any]) -> dict[str, float]:
    """Flips in all and by group, and the difference with its interval."""
    metrics = {
        f"{prefix}mcnemar_p": flips["mcnemar_p"],
        f"{prefix}difference_ratio": flips["difference"],
        f"{prefix}difference_ratio_low_95": flips["interval"][0],
        f"{prefix}difference_ratio_high_95": flips["interval"][1],
        f"{prefix}difference_detectable_ratio": flips["detectable"],
    }
    for group, one in {"": flips, **{f"/{name}": one for name, one in flips["groups"].items()}}.items():
        metrics[f"{prefix}flips_right_to_wrong_count{group}"] = one["right_to_wrong"]
        metrics[f"{prefix}flips_wrong_to_right_count{group}"] = one["wrong_to_right"]
    return metrics
