"""Benchmarks: how fast artifacts answer, how much memory and energy they take, and which differences are real.

Every artifact is loaded in a process of its own, several times over; the artifacts take turns, so that what slows the
machine down for a minute slows all of them. Each process warms up and repeats every workload; what two processes of the
same artifact differ by is the noise that a difference between artifacts has to exceed (``workbench/noise.py``).

    result = measure([Path("artifacts/sqlcoder-nano/gguf-q4_k_m")], BenchmarkOptions(("quick",)))
    result.artifacts[0].figure("512+64", "decode_tokens_per_s").value
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from workbench.artifact import Artifact, open_artifact
from workbench.benchmark_result import ArtifactTimes, BenchmarkResult
from workbench.catalog import get_runtime
from workbench.engine_process import require_memory
from workbench.errors import ArtifactError, WorkbenchError
from workbench.machine import Machine, describe
from workbench.plugins import installed_version, missing_requirements
from workbench.progress import SILENT, Listener
from workbench.prompt import PROMPTS
from workbench.repeats import Repeats
from workbench.timing_process import ProcessTimes, TimingTask, time_in_process
from workbench.workload import Workload, named_workloads
from workbench.yardstick import yardstick

LEAST_PROCESSES = 3
REPORTED_TOOLS = ("sqlcoder-workbench", "torch", "transformers", "xllamacpp", "onnxruntime", "mlx-lm", "numpy")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is timed, and how often.

    Attributes:
        workloads: names of workloads or of sets; none means the default set.
        processes: of each artifact.
        repeats: of each workload in each process.
        budget_s: after so many seconds no new round of processes begins, once there were ``LEAST_PROCESSES``.
        threads: CPU threads; 0 means all cores.
        device: ``cpu``, ``cuda`` or ``mps``; ``None`` takes the best that the machine has and the engine can use.
    """

    workloads: tuple[str, ...] = ()
    processes: int = 7
    repeats: Repeats = field(default_factory=Repeats)
    budget_s: float = 600.0
    threads: int = 0
    device: str | None = None


def measure(
    artifacts: Sequence[Path], options: BenchmarkOptions = BenchmarkOptions(), listener: Listener = SILENT
) -> BenchmarkResult:
    """Time artifacts, taking turns.

    Args:
        artifacts: folders made by build or convert; the same one twice is timed twice.
        options: what and how often.
        listener: hears of each round.

    Raises:
        WorkbenchError: no artifact, no engine for one, too little memory, or no workload that any of them can do.
    """
    workloads = tuple(named_workloads(options.workloads))
    machine = describe(quick=True)
    threads = options.threads or machine.cores
    tasks = [_task(open_artifact(path), workloads, options, machine) for path in artifacts]
    started = time.perf_counter()
    found, yardsticks = _take_turns(tasks, options, threads, listener)
    return BenchmarkResult(
        machine=machine.label,
        threads=threads,
        artifacts=tuple(
            ArtifactTimes.of(open_artifact(path), task, workloads, times)
            for path, task, times in zip(artifacts, tasks, found, strict=True)
        ),
        yardsticks=tuple(yardsticks),
        tool_versions={name: known for name in REPORTED_TOOLS if (known := installed_version(name))},
        seconds=time.perf_counter() - started,
    )


def _take_turns(
    tasks: list[TimingTask], options: BenchmarkOptions, threads: int, listener: Listener
) -> tuple[list[list[ProcessTimes]], list[dict[str, float]]]:
    """Every task's processes, and the yardstick before each.

    In the list a task is replaced, once it ran, by one without the workloads that it could not do.

    Raises:
        WorkbenchError: none of the tasks can do any of its workloads.
    """
    found: list[list[ProcessTimes]] = [[] for _ in tasks]
    yardsticks = []
    started = time.perf_counter()
    for number in range(options.processes):
        if number >= LEAST_PROCESSES and _spent(started, number, options):
            break
        order = list(enumerate(tasks))
        for turn, (place, task) in enumerate(order[:: -1 if number % 2 else 1]):  # none is always the one that follows
            listener.advance("processes", number * len(tasks) + turn, options.processes * len(tasks))
            if task.workloads:
                yardsticks.append(yardstick(threads))
                found[place].append(time_in_process(task))
                tasks[place] = _known(task, found[place][0])
        if not any(task.workloads for task in tasks):
            raise WorkbenchError(_nothing(tasks, found))
    listener.advance("processes", options.processes * len(tasks), options.processes * len(tasks))
    return found, yardsticks


def _spent(started: float, rounds: int, options: BenchmarkOptions) -> bool:
    """Whether one more round would exceed the budget."""
    spent = time.perf_counter() - started
    return spent + spent / rounds > options.budget_s


def _task(
    artifact: Artifact, workloads: tuple[Workload, ...], options: BenchmarkOptions, machine: Machine
) -> TimingTask:
    """What to do with an artifact, once it is clear that it can be done.

    Raises:
        WorkbenchError: its prompt, engine or device is not there, or the memory does not suffice.
    """
    manifest = artifact.manifest
    if manifest.prompt not in PROMPTS:
        raise ArtifactError(f"{artifact.path} was made for the unknown prompt {manifest.prompt!r}; build it again")
    runtime = get_runtime(str(manifest.recipe.get("runtime")))
    missing = missing_requirements(runtime.requires)
    if missing:
        lines = " ".join(f"'{line}'" for _, line in missing)
        raise WorkbenchError(f"{artifact.path} runs in {runtime.title}; install it with: pip install {lines}")
    best = machine.best_device if machine.best_device in runtime.devices else "cpu"
    device = options.device or best
    if device not in runtime.devices:
        raise WorkbenchError(
            f"{runtime.title}, which runs {artifact.path}, has no {device}; choose {' or '.join(runtime.devices)}"
        )
    require_memory(runtime, manifest, device)
    return TimingTask(
        artifact=str(artifact.path),
        runtime=runtime.name,
        device=device,
        threads=options.threads or machine.cores,
        prompt=manifest.prompt,
        # The small ones first: memory that a large one took is often kept.
        workloads=tuple(sorted(workloads, key=lambda one: one.sequences * one.context)),
        repeats=options.repeats,
    )


def _known(task: TimingTask, times: ProcessTimes) -> TimingTask:
    """The task for later processes: without what could not be done, with the prompts that were made."""
    workloads = tuple(one for one in task.workloads if one.title in times.timings)
    return replace(task, workloads=workloads, prompts=times.prompts)


def _nothing(tasks: Sequence[TimingTask], found: Sequence[Sequence[ProcessTimes]]) -> str:
    """Why no artifact could do any workload."""
    reasons = (
        f"{task.artifact}: {title}: {reason}"
        for task, times in zip(tasks, found, strict=True)
        for title, reason in times[0].left_out.items()
    )
    return f"none of the workloads can be timed ({'; '.join(dict.fromkeys(reasons))}); choose others with --workload"
