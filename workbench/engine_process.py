"""An engine in a process of its own, told what to do in one line of JSON, telling what happens in many.

A process per artifact keeps figures clean: its peak memory is one artifact's, an engine that crashes takes no
other down, and nothing loaded for one is warm for the next. The parent's side is ``EngineProcess``; the child's is
``serve``: it reads its task on stdin, writes events to stdout and ends when its parent does::

    with EngineProcess("workbench.trial", asdict(task), "llama_cpp") as child:
        for event in child.events():
            ...                             # {"event": "progress", "done": 1, "total": 8}
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from workbench.artifact import Manifest
from workbench.errors import WorkbenchError
from workbench.memory import least_bytes
from workbench.memory_facts import FALLBACK_MEMORY
from workbench.runtimes.base import Runtime
from workbench.sizes import told_apart

END_S = 5.0
TOLD_LINES = 3  # of what a process that died had printed

Send = Callable[..., None]


class EngineProcess:
    """A child process at work; use as a context manager, which ends it whatever happened.

    Args:
        module: with a ``main`` that calls ``serve``.
        task: JSON values.
        what: the engine and its artifact, as an error names them.
    """

    def __init__(self, module: str, task: dict[str, Any], what: str) -> None:
        self._what = what
        self._scratch = tempfile.TemporaryDirectory(prefix="workbench-engine-")
        self._log = Path(self._scratch.name) / "stderr.txt"
        with self._log.open("wb") as errors:
            # Its own session: Ctrl-C reaches the parent alone, which then ends the child in order.
            self._child = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._child.stdin is not None  # a pipe
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(task) + "\n")
            self._child.stdin.flush()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def events(self) -> Iterator[dict[str, Any]]:
        """What the child tells, in order, until it is done.

        Raises:
            WorkbenchError: the child refused its task, or died before its ``result``.
        """
        assert self._child.stdout is not None  # a pipe
        for line in self._child.stdout:
            try:
                message: dict[str, Any] = json.loads(line)
            except ValueError:
                break  # it was killed within a line
            if message["event"] == "error":
                raise WorkbenchError(message["message"])
            yield message
            if message["event"] == "result":
                return
        self._end()
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-TOLD_LINES:]
        raise WorkbenchError(
            f"{self._what} died (exit {self._child.returncode}): {' / '.join(tail) or 'no message'}; "
            "look whether the memory sufficed, and build the artifact again"
        )

    def _end(self) -> None:
        if self._child.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()  # the child ends itself when its stdin closes
        try:
            self._child.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()
        self._scratch.cleanup()


def serve(work: Callable[[dict[str, Any], Send], dict[str, Any]]) -> None:
    """The child's whole life: one task from stdin, events to stdout, the last one its ``result``.

    Args:
        work: does the task; its second argument sends an event, by name, with values.
    """
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever an engine prints goes to stderr, never between our events
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()

    def send(event: str, **values: Any) -> None:
        events.write(json.dumps({"event": event, **values}) + "\n")

    try:
        send("result", result=work(task, send))
    except WorkbenchError as error:
        send("error", message=str(error))
    events.flush()
    os._exit(0)  # engines' own exit handlers can hang or crash after the work is done


def _exit_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def require_memory(runtime: Runtime, manifest: Manifest, device: str) -> None:
    """Refuse to load what this machine's memory cannot hold: it would swap for hours or be killed.

    Raises:
        WorkbenchError: the weights, as this engine holds them on the CPU, exceed what is free.
    """
    import psutil

    if device != "cpu":
        return
    facts = runtime.memory.get("cpu", FALLBACK_MEMORY)
    needed, free = least_bytes(manifest, facts), psutil.virtual_memory().available
    if needed > free:
        wanted, there = told_apart(needed, free)
        raise WorkbenchError(
            f"running it here takes about {wanted} GiB of memory and {there} are free; "
            "the artifact is made, run it on a larger machine"
        )
