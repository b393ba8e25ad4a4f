"""The figures of a report as a tracker's metrics: one flat name each, the same for every model and profile.

A name carries its unit (``question_s``, ``heldout/sql_accuracy_ratio``) and says where the figure is from:

    question_s, p95/question_s        measured on the profile's own machine: median, 95th percentile
    predicted/question_s              predicted for the profile; ``..._low_90`` and ``..._high_90`` bound it
    SET/sql_accuracy_ratio            of a question set; ``_low_95``, ``_high_95``; per category, hardness
    divergence/kl_nats                from the reference, with its standard error ``_se``
    accept/loss_points                what the accuracy gate found

so runs compare in the tracker's own table, and a prediction never fills the column of a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.measure import Measurement
from workbench.report import ArtifactReport, BuildReport, SetScores

_METRIC_NAMES = {"questions": "questions_count", "tokens": "tokens_count", "same_top": "same_top_ratio"}


def artifact_metrics(one: ArtifactReport) -> dict[str, float]:
    """Every figure of one artifact."""
    metrics: dict[str, float] = {}
    for scored in one.sets:  # first: a tracker's comparison opens with the first figure, and accuracy decides
        metrics.update(_score_metrics(scored))
    for measurement in (*one.measurements, *one.predictions):
        metrics.update(_measurement_metrics(measurement))
    if one.convert_s is not None:
        metrics["convert_s"] = one.convert_s
    return metrics | _divergence_metrics(one) | _gate_metrics(one)


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


def noise_metrics(report: BuildReport) -> dict[str, float]:
    """What differed between two runs of the reference."""
    noise = report.noise
    if not noise:
        return {}
    return {
        "noise/flips_count": noise["right_to_wrong"] + noise["wrong_to_right"],
        "noise/texts_differing_count": noise["texts_differing"],
        "noise/questions_count": noise["questions"],
    }


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
    for share, value in (("p95", measurement.p95), ("p99", measurement.p99)):
        if value is not None:
            metrics[f"{share}/{name}"] = float(value)
    if measurement.interval is not None:
        # Of a prediction nine of ten true values lie inside; of a measurement, what a second run may give.
        low, high = ("low_90", "high_90") if measurement.kind == "predicted" else ("noise_low", "noise_high")
        metrics |= {f"{name}_{low}": measurement.interval[0], f"{name}_{high}": measurement.interval[1]}
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
