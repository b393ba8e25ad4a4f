"""What was found of a package, as a model card's tables: accuracy, flips, divergence, measured and predicted figures.

Measured and predicted figures never share a table. A predicted one bears ``~``, the range in which nine of ten true
values are expected, and the model that predicted it; a measured one its machine, its repeats and its conditions.

    [one.conditions() for one in scorings(facts)]   # each way the questions were answered, once
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.card_facts import Facts
from workbench.card_markdown import Markdown, code, inline
from workbench.card_records import Divergence, Part, QuestionSetFacts, ReportFacts, SetFacts
from workbench.flip_tables import noise_text
from workbench.measure import Measurement, Score
from workbench.sizes import size_text
from workbench.tables import DASH, Table, mean_text, per_second, score_text, two_digits

# What a card calls a figure, in the order it tells them.
FIGURES = {
    "question_s": "time for a question",
    "ttft_s": "time to first token",
    "prefill_tokens_per_s": "prefill rate",
    "decode_tokens_per_s": "decode rate",
    "load_s": "time to load",
    "peak_memory_bytes": "peak memory",
}
_ON_DISK = ("weight_bytes", "bits_per_weight")  # the card's first table has them


@dataclass(frozen=True)
class Scoring:
    """One way the questions were answered; builds for other profiles often share it.

    Attributes:
        reports: that tell it, at least one.
    """

    reports: tuple[ReportFacts, ...]

    @property
    def report(self) -> ReportFacts:
        """The first."""
        return self.reports[0]

    @property
    def sets(self) -> tuple[SetFacts, ...]:
        """With at least one question."""
        return tuple(one for one in self.report.artifact.sets if one.overall)

    def asked(self, name: str) -> QuestionSetFacts:
        """The question set of a name, as it was then."""
        unknown = QuestionSetFacts(name=name, questions=0, digest="not recorded")
        return next((one for one in self.report.question_sets if one.name == name), unknown)

    def conditions(self) -> str:
        """How and where the answers were made."""
        report = self.report
        search = "greedy decoding" if report.beams == 1 else f"beam search with {report.beams} beams"
        place = f"{report.artifact.runtime} on {report.artifact.device}" if report.artifact.runtime else "an engine"
        return f"{place}; {report.machine}; {search}; prompt {report.prompt}; context of {report.context} tokens"


def scorings(facts: Facts) -> list[Scoring]:
    """The ways in which questions were answered, each once, in the order of the reports."""
    found: dict[str, list[ReportFacts]] = {}
    for report in facts.reports:
        if any(one.overall for one in report.artifact.sets):
            own = report.artifact
            how = (report.beams, report.context, report.prompt, report.machine, own.runtime, own.device)
            found.setdefault(repr((how, report.question_sets, report.reference, own.sets)), []).append(report)
    return [Scoring(tuple(reports)) for reports in found.values()]


def accuracy_table(sets: Iterable[SetFacts]) -> Table:
    """One row per question set: right answers with their interval, answers lost and gained against the reference."""
    header = ("question set", "questions", "right", "95% interval", "lost", "gained", "McNemar p", "difference, points")
    rows = []
    for one in sets:
        score, flips = one.overall, one.flips
        assert score is not None  # of sets without a question there is no row
        low, high = score.interval
        compared: tuple[str, ...] = (DASH,) * 4
        if flips:
            bounds = ", ".join(f"{100 * bound:+.1f}" for bound in flips.interval)
            difference = f"{100 * flips.difference:+.1f} [{bounds}]"
            compared = (str(flips.right_to_wrong), str(flips.wrong_to_right), f"{flips.mcnemar_p:.3g}", difference)
        named = one.question_set if score.name == "sql_accuracy" else f"{one.question_set} (rightly declined)"
        share = (f"{score.value:.1%}", f"{100 * low:.1f}% to {100 * high:.1f}%")
        rows.append((named, str(score.total), *share, *compared))
    return Table(header, tuple(rows))


def group_table(sets: Iterable[SetFacts], kind: str) -> Table:
    """Accuracy by ``category`` or ``hardness``, a column per question set."""
    columns = {one.question_set: one.group(kind) for one in sets}
    columns = {name: groups for name, groups in columns.items() if groups}
    names = list(dict.fromkeys(name for groups in columns.values() for name in groups))
    rows = [(name, *(_share(groups.get(name)) for groups in columns.values())) for name in names]
    return Table((kind, *columns), tuple(rows))


def _share(score: Score | None) -> str:
    return f"{score_text(score)} of {score.total}" if score and score.total else DASH


def detectable_text(sets: Iterable[SetFacts]) -> str:
    """The smallest difference that the questions could have shown; empty where nothing was compared."""
    told = [
        f"{100 * one.flips.detectable:.1f} points on {one.question_set}"
        for one in sets
        if one.flips and one.flips.detectable is not None
    ]
    return f"The smallest difference that would be shown in four of five runs: {', '.join(told)}." if told else ""


def noise_floor_text(scoring: Scoring) -> str:
    """What flips between two runs of the reference's own weights; empty where that is not known."""
    noise = scoring.report.noise
    return noise_text(noise.model_dump()) if noise.questions else ""


def divergence_table(facts: Facts) -> Table:
    """Distance of next-token distributions from the reference's; a row for each different comparison."""
    header = ("texts", "KL divergence, nats", "same token first", "perplexity (reference)", "tokens", "against")
    told = dict.fromkeys(row for report in facts.reports for row in _divergence_rows(report.artifact.divergence))
    return Table(header, tuple(told))


def _divergence_rows(record: Divergence) -> list[tuple[str, ...]]:
    parts = {"right answers": record.answers, "questions": record.prompts}
    return [_divergence_row(name, part, record.reference) for name, part in parts.items() if part]


def _divergence_row(name: str, part: Part, reference: str) -> tuple[str, ...]:
    known = part.perplexity is not None and part.reference_perplexity is not None
    return (
        name,
        mean_text(part.kl_nats.model_dump()),
        mean_text(part.same_top.model_dump(), percent=True),
        f"{part.perplexity:.4g} ({part.reference_perplexity:.4g})" if known else DASH,
        f"{part.tokens:,} of {part.questions} questions",
        reference,
    )


def hardware_table(facts: Facts) -> Table:
    """Each profile: whether it was at hand, whether the package fits, whether the build chose it."""
    rows = tuple(
        (
            code(report.profile),
            report.machine if report.profile_is_here else f"predicted; answers were made on {report.machine}",
            report.plan.reason or DASH,
            f"yes: {report.reason}" if report.recommended else "no",
        )
        for report in facts.reports
    )
    return Table(("profile", "measured on", "memory, as planned", "recommended there"), rows)


def measured_table(facts: Facts) -> Table:
    """Every measured figure with its machine, repeats and conditions."""
    header = ("figure", "median", "p95", "repeats", "conditions", "machine", "profile")
    rows = [
        (*_spread(one), _conditions(one.conditions, report), one.source, code(report.profile))
        for report in facts.reports
        for one in _ordered(report.artifact.measurements, "measured")
    ]
    return Table(header, tuple(rows))


def predicted_table(facts: Facts) -> Table:
    """Every predicted figure with the range of nine in ten true values, the model that predicted it, its conditions."""
    header = ("figure (predicted)", "predicted", "nine of ten lie within", "conditions", "predicted by", "for profile")
    rows = []
    for report in facts.reports:
        own = report.artifact
        for one in _ordered((*own.measurements, *own.predictions), "predicted"):
            bounds = " to ".join(figure_text(one, two_digits(bound)) for bound in one.interval or ())
            value = Markdown(f"~{inline(figure_text(one, two_digits(one.value or 0.0)))}")
            told = (FIGURES[one.name], value, bounds or "no range known", _conditions(one.conditions, report))
            rows.append((*told, one.source, code(report.profile)))
    return Table(header, tuple(rows))


def notes(facts: Facts) -> list[str]:
    """What the builds had to say of it, each once, and why one has no results."""
    told = [
        (one, report.profile)
        for report in facts.reports
        for one in (*report.artifact.notes, *filter(None, [report.artifact.error]))
    ]
    return [f"On {profile}: {one}" for one, profile in dict.fromkeys(told)]


def _ordered(figures: Iterable[Measurement], kind: str) -> list[Measurement]:
    """Those of a kind that have a value, each name once, the known ones first; of predictions only the known."""
    first: dict[str, Measurement] = {}
    for one in figures:
        if one.kind == kind and _is_known(one.value) and one.name not in _ON_DISK:
            first.setdefault(one.name, one)
    others = [name for name in first if name not in FIGURES] if kind == "measured" else []
    return [first[name] for name in (*FIGURES, *others) if name in first]


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _spread(one: Measurement) -> tuple[str, ...]:
    slow = figure_text(one, one.p95) if one.p95 is not None and _is_known(one.p95) else DASH
    return FIGURES.get(one.name, one.name), figure_text(one, one.value or 0.0), slow, str(one.samples or DASH)


def figure_text(one: Measurement, value: float) -> str:
    """A value in the measurement's unit, as a reader is told it."""
    if one.unit == "bytes":
        return size_text(value)
    if one.unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    if one.unit == "tokens/s":
        return per_second(value).replace("/s", " tokens/s")
    return f"{value:.4g} {one.unit}"


_CONDITIONS = {"prompt_tokens": "{} tokens in", "new_tokens": "{} out", "batch": "batch {}", "context": "context {}"}


def _conditions(told: Mapping[str, Any], report: ReportFacts) -> str:
    """``246 tokens in, 48 out, batch 1, greedy``; of a figure that tells none, the build's."""
    known = [words.format(told[name]) for name, words in _CONDITIONS.items() if name in told]
    if "context" not in told and "prompt_tokens" not in told:
        known.append(f"context {report.context}")
    beams = told.get("beams", report.beams)
    return ", ".join([*known, "greedy" if beams == 1 else f"beams {beams}"])
