"""Tables of a report, once as data, then as Markdown or on the terminal.

Predicted figures carry a leading ``~``; a dash means "not known here", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.measure import Measurement, Score
from workbench.sizes import size_text

if TYPE_CHECKING:
    from workbench.report import ArtifactReport, BuildReport

DASH = "-"
LEGEND = "~ = predicted for the profile, not measured; - = not known here."


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in GitHub's Markdown; pipes inside cells are escaped."""
        lines = [self.header, tuple("---" for _ in self.header), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def comparison_table(report: BuildReport) -> Table:
    """One row per artifact: size, accuracy, speed, memory."""
    sets = [one["name"] for one in report.question_sets]
    header = (
        "recipe",
        "file",
        "bits/w",
        *(f"right ({name})" for name in sets),
        "flips",
        "accepted",
        "conforms",
        "KL nats",
        "first token",
        "prefill",
        "decode",
        "memory",
    )
    return Table(header, tuple(_comparison_row(artifact, sets, report) for artifact in report.artifacts))


def _comparison_row(artifact: ArtifactReport, sets: Sequence[str], report: BuildReport) -> tuple[str, ...]:
    name = f"{artifact.recipe} *" if artifact.recipe == report.recommended else artifact.recipe
    by_name = {one.question_set: one for one in artifact.sets}
    return (
        name,
        size_text(artifact.weight_bytes) if artifact.weight_bytes else DASH,
        f"{artifact.bits_per_weight:.2f}" if artifact.weight_bytes else DASH,
        *(score_text(by_name[one].overall) if one in by_name else DASH for one in sets),
        "reference" if is_reference(artifact, report) else flips_text(artifact),
        accepted_text(artifact),
        conformance_text(artifact),
        divergence_text(artifact),
        seconds_text(artifact.measurement("ttft_s")),
        rate_text(artifact.measurement("prefill_tokens_per_s")),
        rate_text(artifact.measurement("decode_tokens_per_s")),
        bytes_text(artifact.measurement("peak_memory_bytes")),
    )


def breakdown_table(report: BuildReport, question_set: str, kind: str) -> Table:
    """Accuracy per category or hardness, one column per artifact."""
    scored = [(a.recipe, one) for a in report.artifacts for one in a.sets if one.question_set == question_set]
    prefix = f"sql_accuracy/{kind}/"
    names = (
        [score.name.removeprefix(prefix) for score in scored[0][1].scores if score.name.startswith(prefix)]
        if scored
        else []
    )
    rows = []
    for name in names:
        cells = [next((s for s in one.scores if s.name == prefix + name), None) for _, one in scored]
        total = cells[0].total if cells[0] else 0
        rows.append((name, str(total), *(score_text(cell) if cell else DASH for cell in cells)))
    return Table((kind, "questions", *(recipe for recipe, _ in scored)), tuple(rows))


def refusals_text(report: BuildReport, question_set: str) -> str:
    """How many of a set's questions without an answer each artifact declined; empty where it has none."""
    from workbench.report import REFUSALS  # a plan's table needs none of it

    found = [
        f"`{artifact.recipe}` {score.correct} of {score.total} ({score_text(score)})"
        for artifact in report.artifacts
        for one in artifact.sets
        for score in one.scores
        if one.question_set == question_set and score.name == REFUSALS
    ]
    return f"Questions without an answer, rightly declined: {', '.join(found)}." if found else ""


def score_text(score: Score) -> str:
    """``93.8% [90.6, 95.9]``: value and 95% Wilson interval in percent."""
    if not score.total:
        return DASH
    low, high = score.interval
    return f"{score.value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def conformance_text(artifact: ArtifactReport) -> str:
    """``yes 0.012``: whether it computes what its source does, and the relative error of its logits."""
    if not artifact.conformance:
        return DASH
    verdict = "yes" if artifact.conformance["passed"] else "NO"
    return f"{verdict} {artifact.conformance['logits']['relative_error']:.2g}"


def divergence_text(artifact: ArtifactReport) -> str:
    """``0.0021 ±0.0003``: mean divergence of the answers' tokens from the reference's, and its standard error."""
    record = artifact.divergence
    if "answers" not in record:
        return DASH
    return "reference" if record["reference"] == artifact.recipe else mean_text(record["answers"]["kl_nats"])


def divergence_table(report: BuildReport) -> Table:
    """Divergence, agreement and perplexity of each artifact, one row per part of the questions."""
    header = (
        "recipe", "tokens of", "KL nats", "99% below", "largest", "same token first", "perplexity", "reference's",
        "ln of the ratio", "questions", "tokens",
    )  # fmt: skip
    rows = tuple(
        (
            artifact.recipe,
            part.replace("/", " of "),
            mean_text(one["kl_nats"]),
            f"{one['kl_nats_p99']:.2g}",
            f"{one['kl_nats_max']:.2g}",
            mean_text(one["same_top"], percent=True),
            *(f"{one[name]:.5g}" if one[name] else DASH for name in ("perplexity", "reference_perplexity")),
            mean_text(one["log_perplexity_ratio"]) if one["log_perplexity_ratio"] else DASH,
            str(one["questions"]),
            str(one["tokens"]),
        )
        for artifact in report.artifacts
        for part, one in artifact.divergence.items()
        if isinstance(one, dict) and not (part.startswith("answers/") and len(report.question_sets) == 1)
    )
    return Table(header, rows)


def mean_text(mean: Mapping[str, Any], percent: bool = False) -> str:
    """``0.0021 ±0.0003`` or ``98.21% ±0.35``: a mean and its standard error, as JSON values."""
    value, error = mean["value"], mean["se"]
    if percent:
        return f"{value:.2%}" + ("" if error is None else f" ±{100 * error:.2f}")
    return f"{value:.2g}" + ("" if error is None else f" ±{error:.1g}")


def is_reference(artifact: ArtifactReport, report: BuildReport) -> bool:
    """Whether the others are compared with this artifact."""
    return report.reference.get("kind") == "artifact" and report.reference["name"] == artifact.recipe


def flips_text(artifact: ArtifactReport) -> str:
    """``-3 +2 p=1.00``: right to wrong, wrong to right, exact McNemar p against the reference, on the first set."""
    flips = artifact.sets[0].flips if artifact.sets else None
    if flips is None:
        return DASH
    return f"-{flips['right_to_wrong']} +{flips['wrong_to_right']} p={flips['mcnemar_p']:.2f}"


def accepted_text(artifact: ArtifactReport) -> str:
    """``proved``, ``REFUTED``, ``592 more needed`` (questions) or ``not judged``; a dash without a gate."""
    record = artifact.acceptance
    verdict: str = record.get("verdict", DASH)
    if verdict == "not enough questions":
        return f"{record['questions_needed'] - record['questions']} more needed"
    return "REFUTED" if verdict == "refuted" else verdict


def _mark(measurement: Measurement) -> str:
    return "~" if measurement.kind == "predicted" else ""


def _rounded(measurement: Measurement) -> float:
    """The value; of a prediction two digits, for it knows no more."""
    value = measurement.value or 0.0
    return value if measurement.kind == "measured" else two_digits(value)


def two_digits(value: float) -> float:
    """A value as a prediction tells it, which knows no more."""
    return float(f"{value:.2g}")


def seconds_text(measurement: Measurement | None) -> str:
    """Seconds, in milliseconds below one."""
    if measurement is None or measurement.value is None:
        return DASH
    value = _rounded(measurement)
    text = f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"
    return _mark(measurement) + text


def rate_text(measurement: Measurement | None) -> str:
    """Tokens per second."""
    if measurement is None or measurement.value is None:
        return DASH
    return _mark(measurement) + per_second(_rounded(measurement))


def per_second(rate: float) -> str:
    """``1,204/s``, ``12.3/s``, ``0.437/s``: three digits of a small rate."""
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s"


def bytes_text(measurement: Measurement | None) -> str:
    """Bytes of a measurement."""
    if measurement is None or measurement.value is None:
        return DASH
    return _mark(measurement) + size_text(measurement.value)


def latency_table(report: BuildReport) -> Table:
    """Median and 95th percentile of every timed figure."""
    rows = [
        (
            artifact.recipe,
            m.name,
            _figure_text(m, m.value),
            _figure_text(m, m.p95),
            m.kind,
            str(m.samples or DASH),
            m.source,
        )
        for artifact in report.artifacts
        for m in artifact.measurements
        if m.value is not None and m.name not in ("weight_bytes", "bits_per_weight")
    ]
    return Table(("recipe", "figure", "median", "p95", "kind", "repeats", "where or how"), tuple(rows))


def _figure_text(measurement: Measurement, value: float | None) -> str:
    if value is None:
        return DASH
    if measurement.unit == "bytes":
        return size_text(value)
    return f"{value:.4g} {measurement.unit}"
