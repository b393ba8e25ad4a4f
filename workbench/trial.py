"""One artifact in its own engine, in its own process: load, time, answer.

The parent (``run_trial``) watches the child's memory from outside; the child is ``python -m workbench.trial``. How
the two speak, ``workbench/engine_process.py`` says; how often a question is timed, ``workbench/repeats.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.answering import answer_all
from workbench.artifact import open_artifact
from workbench.catalog import get_runtime
from workbench.engine_process import EngineProcess, serve
from workbench.evidence import Evidence, gather
from workbench.meter_watch import HOST_METER, MeterWatch
from workbench.reference_rows import Comparison, compare, comparison_of
from workbench.repeats import Repeats, timed
from workbench.runtimes.base import Decoding, LoadOptions, Session, Timing

# A build times one question beside much else: a second or so of repeats for each artifact.
BUILD_REPEATS: dict[str, Any] = {"least": 7, "most": 30, "seconds": 1.0}


@dataclass(frozen=True)
class TrialTask:
    """What the child is to do.

    Attributes:
        artifact: folder.
        runtime: engine's name.
        device: ``cpu``, ``cuda`` or ``mps``.
        context: tokens of prompt and answer.
        threads: CPU threads.
        prompts: full prompts to answer.
        stop: texts that end an answer.
        max_new_tokens: limit per answer.
        beams: of the search for each answer; 1 is greedy.
        most_rows: prompts of one batch at most; ``None`` leaves it to the engine.
        timed_prompt: prompt of the latency workload; ``None`` skips timing.
        timed_new_tokens: tokens of its answer.
        repeats: how often it is timed, the fields of ``Repeats``.
        texts: to tokenize, for the comparison with the source.
        golden: prompts to tell the logits of, likewise; without any there is no evidence.
        comparison: with the reference's next-token distributions; see ``workbench/reference_rows.py``.
    """

    artifact: str
    runtime: str
    device: str
    context: int
    threads: int
    prompts: list[str]
    stop: list[str]
    max_new_tokens: int
    beams: int = 1
    most_rows: int | None = None
    timed_prompt: str | None = None
    timed_new_tokens: int = 48
    repeats: dict[str, Any] = field(default_factory=lambda: dict(BUILD_REPEATS))
    texts: list[str] = field(default_factory=list)
    golden: list[str] = field(default_factory=list)
    comparison: Comparison | None = None


@dataclass(frozen=True)
class TrialResult:
    """What came of it.

    Attributes:
        answers: text per prompt, in order.
        new_tokens: tokens written per prompt.
        tokens: ids written per prompt, as ``Generation`` has them; none where the engine does not tell.
        unfinished: answers cut by the token limit.
        answer_s: seconds for all answers.
        load_s: seconds to load the artifact, the engine's import included.
        unasked: per prompt why it was not asked, or nothing; empty where all were.
        timings: one per repeat; empty when not timed.
        notes: what a reader must know.
        representative: whether speed and memory are what users of this format get.
        peak_rss_bytes: largest resident size until timing ended, watched by the parent.
        device_peak_bytes: on an accelerator, watched by the parent through its driver, or by its allocator where no
            meter can; ``None`` on CPU.
        evidence: for the comparison with the source, if golden prompts were given.
        divergence: figures by part of the questions, if a comparison was asked for.
    """

    answers: list[str]
    new_tokens: list[int]
    unfinished: int
    answer_s: float
    load_s: float
    tokens: list[list[int]] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    representative: bool = True
    peak_rss_bytes: int | None = None
    device_peak_bytes: int | None = None
    evidence: Evidence | None = None
    divergence: dict[str, Any] = field(default_factory=dict)


def run_trial(task: TrialTask, progress: Callable[[int, int], None] | None = None) -> TrialResult:
    """Run one trial in a child process.

    Raises:
        WorkbenchError: the engine refused the artifact or died; the message says how.
    """
    held: dict[str, float] = {}  # stays empty where the child never said that its timing ended
    with EngineProcess("workbench.trial", asdict(task), f"{task.runtime} with {task.artifact}") as child:
        watch = MeterWatch(child.pid, task.device)
        try:
            for message in child.events():
                if message["event"] == "timed":
                    watch.end()
                    held = watch.stop()
                elif message["event"] == "progress" and progress:
                    progress(message["done"], message["total"])
                elif message["event"] == "result":
                    result = result_of(message["result"])
        finally:
            watch.stop()
    resident, on_device = held.pop(HOST_METER, None), max(held.values(), default=None)
    return replace(
        result,
        peak_rss_bytes=None if resident is None else int(resident),
        device_peak_bytes=result.device_peak_bytes if on_device is None else int(on_device),
    )


def task_of(record: dict[str, Any]) -> TrialTask:
    """A task from JSON values, as ``asdict`` makes them."""
    comparison = record.get("comparison")
    return TrialTask(**{**record, "comparison": comparison_of(comparison) if comparison else None})


def result_of(record: dict[str, Any]) -> TrialResult:
    """A result from JSON values, as ``asdict`` makes them."""
    timings = [Timing(**timing) for timing in record["timings"]]
    evidence = Evidence(**record["evidence"]) if record["evidence"] else None
    return TrialResult(**{**record, "timings": timings, "evidence": evidence})


def _run(task: TrialTask, send: Callable[..., None]) -> TrialResult:
    started = time.perf_counter()
    options = LoadOptions(task.device, task.context, task.threads, timing=task.timed_prompt is not None)
    with get_runtime(task.runtime).load(open_artifact(Path(task.artifact)), options) as session:
        load_s = time.perf_counter() - started
        timings = _time(session, task)
        send("timed")
        evidence = gather(session, task.texts, task.golden) if task.golden else None

        def progress(done: int, total: int) -> None:
            send("progress", done=done, total=total)

        divergence = compare(session, task.comparison, progress) if task.comparison else {}
        started = time.perf_counter()
        answers = answer_all(session, task.prompts, _decoding(task), progress)
        generations = answers.generations
        return TrialResult(
            answers=[generation.text for generation in generations],
            new_tokens=[generation.new_tokens for generation in generations],
            unfinished=sum(not generation.finished for generation in generations),
            answer_s=time.perf_counter() - started,
            load_s=load_s,
            tokens=[list(generation.tokens) for generation in generations],
            timings=timings,
            unasked=[answers.unasked.get(place, "") for place in range(len(generations))] if answers.unasked else [],
            notes=[*session.notes, *answers.notes],
            representative=session.representative,
            device_peak_bytes=session.device_peak_bytes(),
            evidence=evidence,
            divergence=divergence,
        )


def _decoding(task: TrialTask) -> Decoding:
    return Decoding(tuple(task.stop), task.max_new_tokens, task.beams, task.most_rows)


def _time(session: Session, task: TrialTask) -> list[Timing]:
    if task.timed_prompt is None or not session.representative:
        return []
    prompt = task.timed_prompt
    return timed(lambda: session.time_one(prompt, task.timed_new_tokens), Repeats(**task.repeats))


if __name__ == "__main__":
    serve(lambda record, send: asdict(_run(task_of(record), send)))
