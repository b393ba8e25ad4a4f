"""Tables of a benchmark for the terminal: figures with their noise, and differences."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.benchmark_compare import Compared, noise_text
from workbench.benchmark_result import ArtifactTimes, BenchmarkResult, Figure
from workbench.sizes import size_text
from workbench.tables import DASH, Table, per_second
from workbench.workload import Workload

_LEGEND = (
    "Medians; p95 and p99 are the slow side. noise = what two runs of the same thing differ by at most in 95 of 100 "
    "cases, of the seconds for a question; A/A = what its own processes differed by when every other one was set "
    "against the rest; prefill and decode in tokens a second, of the whole batch; energy of one question; "
    "- = not known here."
)
FEW = 100  # fewer repeats than this have no 99th percentile of their own


def legend(result: BenchmarkResult) -> str:
    """What the columns are, and where the memory was read."""
    scopes = {figure.of for one in result.artifacts for figure in one.figures if figure.name == "peak_memory_bytes"}
    few = min((len(figure.values) for one in result.artifacts for figure in one.figures if figure.p99), default=FEW)
    tail = f" p99 of fewer than {FEW} repeats is nearly the slowest." if few < FEW else ""
    return f"{_LEGEND}{tail} memory = largest {' or '.join(sorted(scopes - {''})) or 'reading'}, read from outside."


def remarks(result: BenchmarkResult) -> list[str]:
    """What was left out and why, and what the engines say."""
    told = [
        f"{one.name}: {title} is left out: {reason}"
        for one in result.artifacts
        for title, reason in one.left_out.items()
    ]
    return [*told, *dict.fromkeys(f"{one.name}: {note}" for one in result.artifacts for note in one.notes)]


def figures_table(result: BenchmarkResult) -> Table:
    """One row for each artifact and workload, and one for loading it."""
    header = (
        "artifact", "workload", "processes x repeats", "first token", "prefill", "decode", "question", "p95", "p99",
        "energy", "memory", "per correct", "noise", "A/A",
    )  # fmt: skip
    rows = [row for one in result.artifacts for row in _rows(one)]
    return Table(header, tuple(rows))


def _rows(one: ArtifactTimes) -> list[tuple[str, ...]]:
    name = f"{one.name} ({one.device})"
    rows = []
    for workload in one.workloads:
        title = workload.title
        told = {figure.name: figure for figure in one.figures if figure.workload == title}
        question = told["question_s"]
        per_second = [_rate(told[key]) for key in ("prefill_tokens_per_s", "decode_tokens_per_s")]
        energy = told["energy_j"].value
        rows.append(
            (
                name,
                title,
                _counts(question),
                seconds_text(told["ttft_s"].value),
                *per_second,
                *(seconds_text(value) for value in (question.value, question.p95, question.p99)),
                DASH if energy is None else f"{energy:.3g} J",
                _size(told["peak_memory_bytes"]),
                _per_correct(one, workload),
                *_noise(question),
            )
        )
    load, memory = one.figure("", "load_s"), one.figure("", "peak_memory_bytes")
    if load is not None:
        told_load = (seconds_text(value) for value in (load.value, load.p95, load.p99))
        rows.append(
            (name, "load", _counts(load), DASH, DASH, DASH, *told_load, DASH, _size(memory), DASH, *_noise(load))
        )
    return rows


def _per_correct(one: ArtifactTimes, workload: Workload) -> str:
    """``40.1 ms`` or ``40.1 ms, 3.2 J``."""
    seconds, joules = (one.per_correct(workload, name) for name in ("question_s", "energy_j"))
    told = [seconds_text(seconds.value)] if seconds else []
    return ", ".join([*told, *([f"{joules.value:.3g} J"] if joules else [])]) or DASH


def _counts(figure: Figure) -> str:
    counts = sorted({len(process) for process in figure.processes})
    repeats = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    return f"{len(figure.processes)} x {repeats}"


def _noise(figure: Figure) -> tuple[str, str]:
    floor, seen = (DASH if value is None else noise_text(value) for value in (figure.floor, figure.aa))
    return floor, seen


def _rate(figure: Figure) -> str:
    return DASH if not figure.value else per_second(figure.value)


def _size(figure: Figure | None) -> str:
    return DASH if figure is None or figure.value is None else size_text(figure.value)


def seconds_text(seconds: float | None) -> str:
    """``1.234 s`` or ``12.3 ms``; a dash for what is not known."""
    if seconds is None:
        return DASH
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def comparison_table(compared: Sequence[Compared]) -> Table:
    """One row for each comparison, the differences first."""
    ordered = sorted(compared, key=lambda one: not one.difference.called)
    rows = tuple(
        (one.artifact, one.other, one.workload or DASH, one.name, f"{one.difference.ratio:.3f}", one.text)
        for one in ordered
    )
    return Table(("artifact", "beside", "workload", "figure", "ratio seen", "difference"), rows)
