"""The loop of a peer's script: a setting, then rounds, each a line of JSON in and one out.

A script calls ``serve`` with a function that takes the setting, does all that shall not be timed, and returns the
tool's name and version with the work of a round. The work may return a function: it is called when the clock has
stopped and tells what else was found out. Only the standard library here: any interpreter must run it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Facts = Callable[[], dict[str, Any]]
Work = Callable[..., Facts | None]


def serve(prepare: Callable[..., tuple[str, Work]]) -> None:
    """Answer until stdin ends; what the tool prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    name, work = prepare(**json.loads(sys.stdin.readline()))
    answer(name=name)
    for line in sys.stdin:
        arguments = json.loads(line)
        started, started_cpu = time.perf_counter(), time.process_time()
        facts = work(**arguments)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
        answer(seconds=seconds, cpu_seconds=cpu_seconds, facts=facts() if facts else {})
