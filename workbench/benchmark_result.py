"""What a benchmark found: figures with every repeat behind them, their noise, and the record that is kept of them.

A figure is one number of one artifact: of a workload (``ttft_s``, ``prefill_tokens_per_s``, ``decode_tokens_per_s``,
``question_s``, ``energy_j`` per question, ``peak_memory_bytes`` so far) or of the whole process (``load_s``,
``peak_memory_bytes``). Its repeats are kept process by process, because noise is told by how processes differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from workbench.artifact import Artifact
from workbench.catalog import get_runtime
from workbench.errors import WorkbenchError
from workbench.measure import Measurement, Score
from workbench.measurements import TIMED, TimedFigure
from workbench.meter_watch import HOST_METER
from workbench.noise import aa_difference, noise_floor, series
from workbench.right_answers import CostPerCorrect, RightShare, per_correct
from workbench.timing_process import ProcessTimes, TimingTask
from workbench.workload import Workload

RESULT_VERSION = 1
LOAD = TimedFigure("load_s", "s")
MEMORY = TimedFigure("peak_memory_bytes", "bytes")
ENERGY = TimedFigure("energy_j", "J")


@dataclass(frozen=True)
class Figure:
    """One number of one artifact.

    Attributes:
        workload: its title; empty for the whole process.
        name: of the measurement.
        unit: ``s``, ``tokens/s``, ``bytes``, ``J``.
        value: median of all repeats; ``None`` where the machine has no meter for it.
        p95: slow 95th percentile.
        p99: slow 99th percentile; of fewer than a hundred repeats nearly the slowest.
        processes: every repeat, by process in order.
        of: what is counted, where that is not plain.
    """

    workload: str
    name: str
    unit: str
    value: float | None
    p95: float | None
    p99: float | None
    processes: tuple[tuple[float, ...], ...]
    of: str = ""

    @cached_property
    def logs(self) -> list[float]:
        """The series that noise and differences are computed from; see ``workbench/noise.py``."""
        return series(self.processes)

    @property
    def floor(self) -> float | None:
        """Relative difference that two runs of the same thing stay below in 95 of 100 cases."""
        return noise_floor(self.logs)

    @property
    def aa(self) -> float | None:
        """Relative difference between every other process and the rest, as it was seen."""
        return aa_difference(self.logs)

    @property
    def values(self) -> tuple[float, ...]:
        """Every repeat."""
        return tuple(value for process in self.processes for value in process)

    def measurement(self, machine: str, conditions: Mapping[str, Any]) -> Measurement:
        """The figure as a report holds it."""
        interval = None
        if self.value is not None and self.floor is not None:
            interval = (self.value / (1 + self.floor), self.value * (1 + self.floor))
        return Measurement(
            self.name, self.value, self.unit, "measured", machine, self.p95, len(self.values),
            {**conditions, "workload": self.workload}, self.p99, interval, self.values,
        )  # fmt: skip


@dataclass(frozen=True)
class ArtifactTimes:
    """One artifact's figures.

    Attributes:
        name: model and recipe.
        path: folder, as the user gave it.
        build_key: of what it was made from and how.
        runtime: engine with version.
        device: it ran on.
        workloads: that were timed.
        figures: all of them.
        left_out: why a workload was not timed, by its title.
        notes: what a reader must know.
        processes: that were started.
        right: how often it is right, where that is known.
    """

    name: str
    path: str
    build_key: str
    runtime: str
    device: str
    workloads: tuple[Workload, ...]
    figures: tuple[Figure, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    processes: int
    right: RightShare | None = None

    @classmethod
    def of(
        cls, artifact: Artifact, task: TimingTask, workloads: Sequence[Workload], times: Sequence[ProcessTimes]
    ) -> ArtifactTimes:
        """From what its processes told."""
        first = times[0]
        timed = tuple(one for one in workloads if one.title in first.timings)
        return cls(
            name=f"{artifact.manifest.model} {artifact.manifest.name}",
            path=str(artifact.path),
            build_key=artifact.manifest.build_key,
            runtime=get_runtime(task.runtime).label,
            device=task.device,
            workloads=timed,
            figures=tuple(_figures(timed, times)) if timed else (),
            left_out=first.left_out,
            notes=first.notes,
            processes=len(times),
        )

    def figure(self, workload: str, name: str) -> Figure | None:
        """A figure by its workload's title (empty for the whole process) and its name."""
        return next((one for one in self.figures if (one.workload, one.name) == (workload, name)), None)

    def per_correct(self, workload: Workload, name: str) -> CostPerCorrect | None:
        """Seconds (``question_s``) or joules (``energy_j``) per correct answer; ``None`` where that is not known.

        The seconds of a batch are shared by its questions; the joules are per question already.
        """
        figure = self.figure(workload.title, name)
        if figure is None or figure.value is None or self.right is None:
            return None
        return per_correct(figure.value / (workload.batch if name == "question_s" else 1), self.right.score)


@dataclass(frozen=True)
class BenchmarkResult:
    """One run.

    Attributes:
        machine: label.
        threads: CPU threads the engines were given.
        artifacts: in the order they were named.
        yardsticks: what the machine itself took for fixed work, before each process.
        seconds: of the run.
        started: date and time, ISO 8601.
        schema_version: of the record.
    """

    machine: str
    threads: int
    artifacts: tuple[ArtifactTimes, ...]
    yardsticks: tuple[dict[str, float], ...]
    seconds: float
    started: str = ""
    tool_versions: dict[str, str] = field(default_factory=dict)
    schema_version: int = RESULT_VERSION


def _figures(workloads: Sequence[Workload], times: Sequence[ProcessTimes]) -> Iterator[Figure]:
    meter = _memory_meter(times[0].scopes, times[0].memory_bytes)
    for workload in workloads:
        title = workload.title
        for kind in TIMED:
            yield _figure(title, kind, [[kind.of(one) for one in process.timings[title]] for process in times])
        joules = [_question_j(process, workload) for process in times]
        yield _figure(title, ENERGY, [[one] for one in joules if one is not None], _energy_scope(times[0]))
        peaks = [process.metered[title].memory_bytes.get(meter) for process in times]
        yield _figure(title, MEMORY, [[one] for one in peaks if one], times[0].scopes.get(meter, ""))
    yield _figure("", LOAD, [[process.load_s] for process in times])
    peaks = [process.memory_bytes.get(meter) for process in times]
    yield _figure("", MEMORY, [[one] for one in peaks if one], times[0].scopes.get(meter, ""))


def _figure(workload: str, kind: TimedFigure, processes: Sequence[Sequence[float]], of: str = "") -> Figure:
    kept = tuple(tuple(process) for process in processes)
    values = [value for process in kept for value in process]
    value, p95, p99 = (kind.percentile(values, share) if values else None for share in (0.5, 0.95, 0.99))
    return Figure(workload, kind.name, kind.unit, value, p95, p99, kept, of)


def _memory_meter(scopes: Mapping[str, str], read: Mapping[str, float]) -> str:
    """The meter of the accelerator where there is one that read something, else that of the process."""
    return next((name for name in scopes if name in read and name != HOST_METER), HOST_METER)


def _question_j(process: ProcessTimes, workload: Workload) -> float | None:
    """Joules per question, of all meters together; the warm-up's questions count, for its joules do."""
    joules = process.metered[workload.title].energy_j
    questions = process.calls[workload.title] * workload.batch
    return sum(joules.values()) / questions if joules and questions else None


def _energy_scope(process: ProcessTimes) -> str:
    used = next(iter(process.metered.values())).energy_j
    return " and ".join(process.scopes[name] for name in used)


def result_record(result: BenchmarkResult) -> dict[str, Any]:
    """The result as JSON values."""
    return {
        "schema_version": result.schema_version,
        "machine": result.machine,
        "threads": result.threads,
        "started": result.started,
        "seconds": result.seconds,
        "tool_versions": result.tool_versions,
        "yardsticks": list(result.yardsticks),
        "artifacts": [_artifact_record(one) for one in result.artifacts],
    }


def _artifact_record(one: ArtifactTimes) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in ("name", "path", "build_key", "runtime", "device", "left_out")},
        "notes": list(one.notes),
        "processes": one.processes,
        "workloads": [vars(workload) for workload in one.workloads],
        "right": asdict(one.right) if one.right else None,
        "per_correct": {
            workload.title: {
                name: asdict(cost) if (cost := one.per_correct(workload, name)) else None
                for name in ("question_s", "energy_j")
            }
            for workload in one.workloads
        },
        "figures": [_figure_record(figure) for figure in one.figures],
    }


def _figure_record(figure: Figure) -> dict[str, Any]:
    fields = ("workload", "name", "unit", "value", "p95", "p99", "of", "floor", "aa")
    record = {name: getattr(figure, name) for name in fields}
    return {**record, "samples": len(figure.values), "processes": [list(one) for one in figure.processes]}


def result_of(record: Mapping[str, Any], source: str) -> BenchmarkResult:
    """A result from its record.

    Args:
        record: as ``result_record`` makes it.
        source: where it was read, for the error.

    Raises:
        WorkbenchError: it is none, or of another version.
    """
    try:
        if record["schema_version"] != RESULT_VERSION:
            raise WorkbenchError(
                f"{source} holds benchmarks of version {record['schema_version']}, this workbench reads "
                f"{RESULT_VERSION}; run the benchmark again"
            )
        fields = {name: record[name] for name in ("machine", "threads", "seconds", "started", "tool_versions")}
        artifacts = tuple(_artifact_of(one) for one in record["artifacts"])
        return BenchmarkResult(artifacts=artifacts, yardsticks=tuple(record["yardsticks"]), **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkbenchError(f"{source} holds no benchmarks ({error}); run the benchmark again") from error


def _artifact_of(record: Mapping[str, Any]) -> ArtifactTimes:
    names = ("name", "path", "build_key", "runtime", "device", "left_out", "processes")
    return ArtifactTimes(
        **{name: record[name] for name in names},
        workloads=tuple(Workload(**one) for one in record["workloads"]),
        figures=tuple(_figure_of(one) for one in record["figures"]),
        notes=tuple(record["notes"]),
        right=_right_of(record["right"]) if record["right"] else None,
    )


def _right_of(record: Mapping[str, Any]) -> RightShare:
    return RightShare(Score(**record["score"]), record["question_set"], record["source"])


def _figure_of(record: Mapping[str, Any]) -> Figure:
    names = ("workload", "name", "unit", "value", "p95", "p99", "of")
    processes = tuple(tuple(float(value) for value in one) for one in record["processes"])
    return Figure(**{name: record[name] for name in names}, processes=processes)
