"""The tables of the report's page: cells that know whether they are predicted.

A figure that was measured and one that was predicted never look alike: a predicted cell says so in words, carries ``~``
and is set in another style by the page. A cell's detail is its interval.

    grid = artifacts_grid(report)       # one row an artifact
    grid.rows[0][1].text, grid.rows[0][1].predicted
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.measure import Measurement, Score
from workbench.report import ArtifactReport, BuildReport
from workbench.sizes import size_text
from workbench.tables import (
    DASH,
    Table,
    accepted_text,
    conformance_text,
    divergence_text,
    flips_text,
    is_reference,
    per_second,
    two_digits,
)

_NUMBER = re.compile(r"[~+±-]?\d|-$")


@dataclass(frozen=True)
class Cell:
    """One figure or word.

    Attributes:
        text: shown.
        detail: smaller, below it: an interval, a p value.
        predicted: whether it was predicted rather than measured.
        tone: ``good``, ``bad`` or ``doubt`` where it is a verdict, else empty.
        tags: short words beside it, e.g. ``recommended``.
    """

    text: str
    detail: str = ""
    predicted: bool = False
    tone: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table with a caption; the first column names its rows."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold figures, to be set flush right."""
        return tuple(at > 0 and all(_NUMBER.match(row[at].text) for row in self.rows) for at in range(len(self.header)))


def grid_of(table: Table, caption: str) -> Grid:
    """A table of texts with a caption; a leading ``~`` marks what is predicted."""
    rows = tuple(tuple(Cell(text, predicted=text.startswith("~")) for text in row) for row in table.rows)
    return Grid(caption, table.header, rows)


def artifacts_grid(report: BuildReport) -> Grid:
    """What the report is about: one row an artifact, size, accuracy, speed and memory."""
    sets = [one["name"] for one in report.question_sets]
    header = (
        "artifact", "file", "bits/w", *(f"right ({name})" for name in sets), "flips", "gate", "conforms",
        "KL, nats", "first token", "prefill", "decode", "memory",
    )  # fmt: skip
    rows = tuple(_artifact_row(artifact, sets, report) for artifact in report.artifacts)
    return Grid(f"The artifacts of {report.model} for {report.profile}", header, rows)


def _artifact_row(artifact: ArtifactReport, sets: Sequence[str], report: BuildReport) -> tuple[Cell, ...]:
    scores = {one.question_set: one.overall for one in artifact.sets}
    reference = is_reference(artifact, report)
    tags = {"recommended": artifact.recipe == report.recommended, "reference": reference, "failed": artifact.error}
    size = size_text(artifact.weight_bytes) if artifact.weight_bytes else DASH
    names = ("ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes")
    return (
        Cell(artifact.recipe, artifact.runtime, tags=tuple(name for name, holds in tags.items() if holds)),
        Cell(size),
        Cell(f"{artifact.bits_per_weight:.2f}" if artifact.weight_bytes else DASH),
        *(score_cell(scores.get(one)) for one in sets),
        Cell("reference") if reference else _flips_cell(artifact),
        _gate_cell(artifact),
        _conformance_cell(artifact),
        Cell(divergence_text(artifact)),
        *(figure_cell(artifact.measurement(name)) for name in names),
    )


def score_cell(score: Score | None) -> Cell:
    """``93.8%`` with its 95% Wilson interval below."""
    if score is None or not score.total:
        return Cell(DASH)
    low, high = score.interval
    return Cell(f"{score.value:.1%}", f"{100 * low:.1f} to {100 * high:.1f}")


def figure_cell(measurement: Measurement | None) -> Cell:
    """A measurement, or a prediction with its interval below."""
    if measurement is None or measurement.value is None:
        return Cell(DASH)
    if measurement.kind == "predicted":
        digits = measurement.value if measurement.unit == "bytes" else two_digits(measurement.value)
        return Cell(f"~{value_text(digits, measurement.unit)}", interval_text(measurement), predicted=True)
    return Cell(value_text(measurement.value, measurement.unit))


def interval_text(measurement: Measurement) -> str:
    """``0.90 to 1.40 s``: the interval of a measurement or prediction; empty where none is known."""
    return "" if measurement.interval is None else range_text(*measurement.interval, measurement.unit)


def range_text(low: float, high: float, unit: str) -> str:
    """``695 to 1,100 MiB``: both ends in the unit of the upper one, three digits of each."""
    larger = {"bytes": ((1024**3, " GiB"), (1024**2, " MiB"), (1024, " KiB")), "s": ((1, " s"),)}.get(unit, ())
    least = {"bytes": (1, " B"), "s": (1e-3, " ms"), "tokens/s": (1, "/s")}.get(unit, (1, f" {unit}"))
    scale, name = next((one for one in larger if high >= one[0]), least)
    ends = (f"{float(f'{end / scale:.3g}'):,.12g}" for end in (low, high))
    return " to ".join(ends) + name


def value_text(value: float, unit: str) -> str:
    """A value with its unit, in the digits a reader wants: ``1.2 GiB``, ``35.1 ms``, ``1,204/s``."""
    if unit == "bytes":
        return size_text(value)
    if unit == "s":
        return f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"
    if unit == "tokens/s":
        return per_second(value)
    return f"{value:.4g} {unit}"


def _flips_cell(artifact: ArtifactReport) -> Cell:
    text, _, detail = flips_text(artifact).partition(" p=")
    return Cell(text, f"p = {detail}" if detail else "")


def _conformance_cell(artifact: ArtifactReport) -> Cell:
    text, _, detail = conformance_text(artifact).partition(" ")
    tone = {"yes": "good", "NO": "bad"}.get(text, "")
    return Cell(text.lower(), f"error {detail}" if detail else "", tone=tone)


def _gate_cell(artifact: ArtifactReport) -> Cell:
    verdict = artifact.acceptance.get("verdict", DASH)
    if verdict == "not enough questions":
        return Cell("undecided", accepted_text(artifact), tone="doubt")  # how many more questions would decide it
    return Cell(verdict, tone={"proved": "good", "refuted": "bad"}.get(verdict, ""))
