"""One artifact timed in a process of its own: load it, run every workload, watched from outside.

The parent's side is ``time_in_process``; the child is ``python -m workbench.timing_process``. What a workload's prompts
are depends on the artifact's tokenizer, so the first process of an artifact makes them and later ones are given them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workbench.artifact import open_artifact
from workbench.catalog import get_runtime
from workbench.engine_process import EngineProcess, Send, serve
from workbench.errors import UnsupportedWorkloadError
from workbench.meter_watch import Metered, MeterWatch
from workbench.prompt import PROMPTS, Prompt
from workbench.repeats import Repeats, timed
from workbench.runtimes.base import LoadOptions, Session, Timing
from workbench.schema_prompts import schema_prompts
from workbench.workload import Workload

NOT_REPRESENTATIVE = "its speed here is not what users of this format get"


@dataclass(frozen=True)
class TimingTask:
    """What the child is to do.

    Attributes:
        artifact: folder.
        runtime: engine's name.
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads.
        prompt: name of the model's prompt.
        workloads: in the order in which they are timed, none longer than the model's context if that is known.
        prompts: of each workload by its place, where they are known.
        repeats: when to stop.
    """

    artifact: str
    runtime: str
    device: str
    threads: int
    prompt: str
    workloads: tuple[Workload, ...]
    prompts: dict[str, list[str]] = field(default_factory=dict)
    repeats: Repeats = field(default_factory=Repeats)


@dataclass(frozen=True)
class ProcessTimes:
    """What came of it. Dictionaries are by a workload's title.

    Attributes:
        load_s: seconds to load the artifact, the engine's import included.
        notes: what a reader must know.
        timings: repeats of each workload.
        left_out: why a workload was not timed.
        prompts: that were used.
        metered: memory and energy of each workload's calls.
        calls: of each workload, those of the warm-up included: the energy is theirs.
        memory_bytes: largest reading of the whole process, by meter.
        scopes: what each meter counts.
    """

    load_s: float
    notes: tuple[str, ...]
    timings: dict[str, list[Timing]]
    left_out: dict[str, str]
    prompts: dict[str, list[str]]
    metered: dict[str, Metered]
    calls: dict[str, int]
    memory_bytes: dict[str, float]
    scopes: dict[str, str]


def time_in_process(task: TimingTask, hear: Callable[[str], None] = lambda title: None) -> ProcessTimes:
    """Time an artifact in a child process.

    Args:
        task: what to time.
        hear: told the title of each workload when it begins.

    Raises:
        WorkbenchError: the engine refused the artifact or died; the message says how.
    """
    metered, calls = {}, {}
    with EngineProcess("workbench.timing_process", asdict(task), f"{task.runtime} with {task.artifact}") as child:
        watch = MeterWatch(child.pid, task.device)
        try:
            for message in child.events():
                if message["event"] == "begin":
                    hear(message["title"])
                    watch.begin(message["at"])
                elif message["event"] == "end":
                    metered[message["title"]] = watch.end(message["at"])
                    calls[message["title"]] = message["calls"]
                elif message["event"] == "result":
                    result = message["result"]
        finally:
            memory = watch.stop()
    timings = {title: [Timing(**one) for one in repeats] for title, repeats in result.pop("timings").items()}
    result["notes"] = tuple(result["notes"])
    return ProcessTimes(
        **result, timings=timings, metered=metered, calls=calls, memory_bytes=memory, scopes=watch.scopes
    )


def _work(record: dict[str, Any], send: Send) -> dict[str, Any]:
    workloads = tuple(Workload(**one) for one in record["workloads"])
    task = TimingTask(**{**record, "workloads": workloads, "repeats": Repeats(**record["repeats"])})
    session, load_s = _load(task, max(one.context for one in workloads))
    if session.representative and session.context < max(one.context for one in workloads):
        session.close()  # room that no answer can use would count as memory
        session, load_s = _load(task, session.context)
    with session:
        timings, prompts, left_out = {}, {}, {}
        for workload in workloads:
            try:
                title = workload.title
                prompts[title], timings[title] = _time(session, workload, task, send)
            except UnsupportedWorkloadError as error:
                left_out[workload.title] = str(error)
        repeats = {title: [asdict(one) for one in many] for title, many in timings.items()}
        return {
            "load_s": load_s,
            "notes": list(session.notes),
            "timings": repeats,
            "left_out": left_out,
            "prompts": prompts,
        }


def _load(task: TimingTask, context: int) -> tuple[Session, float]:
    started = time.perf_counter()
    options = LoadOptions(task.device, context, task.threads, timing=True)
    session = get_runtime(task.runtime).load(open_artifact(Path(task.artifact)), options)
    return session, time.perf_counter() - started


def _time(session: Session, workload: Workload, task: TimingTask, send: Send) -> tuple[list[str], list[Timing]]:
    """Prompts and timings of one workload."""
    if not session.representative:
        raise UnsupportedWorkloadError(NOT_REPRESENTATIVE)
    if workload.context > session.context:
        raise UnsupportedWorkloadError(f"{workload.context} tokens exceed its context of {session.context}")
    known = task.prompts.get(workload.title)
    prompts = known or schema_prompts(workload, _prompt(task), session.prompt_tokens)
    send("begin", title=workload.title, at=time.monotonic())
    try:
        timings = timed(lambda: session.time_batch(prompts, workload.new_tokens, workload.beams), task.repeats)
    except UnsupportedWorkloadError:
        send("end", title=workload.title, at=time.monotonic(), calls=0)
        raise
    send("end", title=workload.title, at=time.monotonic(), calls=len(timings) + task.repeats.warmups)
    return prompts, timings


def _prompt(task: TimingTask) -> Prompt:
    return PROMPTS[task.prompt]


if __name__ == "__main__":
    serve(_work)
