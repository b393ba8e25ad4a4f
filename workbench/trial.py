"""One artifact in its own engine, in its own process: load, time, answer.

A process per artifact keeps figures clean: its peak memory is one artifact's, an engine that crashes takes
no other down, and nothing loaded for one is warm for the next. The parent (``run_trial``) watches the
child's memory from outside; the child (``python -m workbench.trial``) reads its task on stdin, reports its
progress as JSON lines on stdout and ends when the parent does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.answering import answer_all
from workbench.artifact import open_artifact
from workbench.catalog import get_runtime
from workbench.errors import WorkbenchError
from workbench.evidence import Evidence, gather
from workbench.hardware import GIB
from workbench.reference_rows import Comparison, compare, comparison_of
from workbench.runtimes.base import Decoding, LoadOptions, Runtime, Session, Timing

SAMPLE_S = 0.02
WARMUPS = 1


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
        repeats: timed repeats after the warm-up.
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
    repeats: int = 7
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
        device_peak_bytes: peak of an accelerator's allocator, ``None`` on CPU.
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


def require_memory(runtime: Runtime, weight_bytes: int, device: str) -> None:
    """Refuse to load what this machine's memory cannot hold: it would swap for hours or be killed.

    Raises:
        WorkbenchError: the weights, as this engine holds them on the CPU, exceed what is free.
    """
    import psutil

    facts = runtime.facts.get("cpu")
    if device != "cpu" or facts is None:
        return
    needed, free = weight_bytes * facts.weight_expansion, psutil.virtual_memory().available
    if needed > free:
        raise WorkbenchError(
            f"running it here takes about {needed / GIB:.0f} GiB of memory and {free / GIB:.0f} are free; "
            "the artifact is made, run it on a larger machine"
        )


def run_trial(task: TrialTask, progress: Callable[[int, int], None] | None = None) -> TrialResult:
    """Run one trial in a child process.

    Raises:
        WorkbenchError: the engine refused the artifact or died; the message says how.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-trial-") as scratch:
        log = Path(scratch) / "stderr.txt"
        with log.open("wb") as errors:
            # Its own session: Ctrl-C reaches the parent alone, which then ends the child in order.
            child = subprocess.Popen(
                [sys.executable, "-m", "workbench.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            try:
                result = _converse(child, task, progress)
            finally:
                _end(child)
        if result is None:
            tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise WorkbenchError(
                f"{task.runtime} died while running {task.artifact} (exit {child.returncode}): "
                f"{' / '.join(tail) or 'no message'}"
            )
    return result


def _converse(
    child: subprocess.Popen[str], task: TrialTask, progress: Callable[[int, int], None] | None
) -> TrialResult | None:
    """Send the task, follow the child's lines; ``None`` when it ended without a result."""
    assert child.stdin is not None and child.stdout is not None  # both are pipes
    watch = MemoryWatch(child.pid)
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(asdict(task)) + "\n")
        child.stdin.flush()
    result = None
    for line in child.stdout:
        message = json.loads(line)
        if message["event"] == "timed":
            watch.stop()
        elif message["event"] == "progress" and progress:
            progress(message["done"], message["total"])
        elif message["event"] == "error":
            raise WorkbenchError(message["message"])
        elif message["event"] == "result":
            result = replace(result_of(message["result"]), peak_rss_bytes=watch.peak_bytes)
    watch.stop()
    return result


def task_of(record: dict[str, Any]) -> TrialTask:
    """A task from JSON values, as ``asdict`` makes them."""
    comparison = record.get("comparison")
    return TrialTask(**{**record, "comparison": comparison_of(comparison) if comparison else None})


def result_of(record: dict[str, Any]) -> TrialResult:
    """A result from JSON values, as ``asdict`` makes them."""
    timings = [Timing(**timing) for timing in record["timings"]]
    evidence = Evidence(**record["evidence"]) if record["evidence"] else None
    return TrialResult(**{**record, "timings": timings, "evidence": evidence})


def _end(child: subprocess.Popen[str]) -> None:
    if child.stdin:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()  # the child ends itself when its stdin closes
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class MemoryWatch:
    """Largest resident set of another process, sampled from outside until ``stop``."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes: int | None = None
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        import psutil

        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._pid)
            while True:
                self.peak_bytes = max(self.peak_bytes or 0, process.memory_info().rss)
                if self._stop.wait(SAMPLE_S):
                    return

    def stop(self) -> None:
        """Stop sampling; ``peak_bytes`` holds the result."""
        self._stop.set()
        self._thread.join()


def child_main() -> None:
    """Entry point of the child: one task from stdin, events to stdout."""
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever an engine prints goes to stderr, never between our events
    task = task_of(json.loads(sys.stdin.readline()))
    threading.Thread(target=_exit_with_parent, daemon=True).start()

    def send(event: str, **values: Any) -> None:
        events.write(json.dumps({"event": event, **values}) + "\n")

    try:
        send("result", result=asdict(_run(task, send)))
    except WorkbenchError as error:
        send("error", message=str(error))
    events.flush()
    os._exit(0)  # engines' own exit handlers can hang or crash after the work is done


def _exit_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _run(task: TrialTask, send: Callable[..., None]) -> TrialResult:
    started = time.perf_counter()
    options = LoadOptions(task.device, task.context, task.threads)
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
    for _ in range(WARMUPS):
        session.time_one(task.timed_prompt, task.timed_new_tokens)
    return [session.time_one(task.timed_prompt, task.timed_new_tokens) for _ in range(task.repeats)]


if __name__ == "__main__":
    child_main()
