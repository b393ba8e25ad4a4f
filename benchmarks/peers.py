"""Other tools beside which the workbench is timed: each in a process of its own, under its own interpreter.

A script in ``peer_scripts/`` does the tool's work and takes the time inside, so neither start-up nor imports count.
Peers of the main environment (``pip install "sqlcoder-workbench[peers]"``) run under this interpreter; those whose
requirements contradict ours have an environment of their own, named by an environment variable:

    WORKBENCH_CYLLAMA_PYTHON        llama.cpp's quantizer: a Python with cyllama
    WORKBENCH_GPTQMODEL_PYTHON      a Python with gptqmodel
    WORKBENCH_LLMCOMPRESSOR_PYTHON  a Python with llmcompressor
    WORKBENCH_SQL_EVAL              a checkout of defog-ai/sql-eval

A peer that is not there skips its benchmark and says what is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "peer_scripts"
TOLD = 2000  # characters of a failed peer's last words


class Peer:
    """A running peer.

    Attributes:
        name: the tool with its version.
        facts: what the last round said besides its seconds.
        cpu_s: processor time of the last round, all threads together.
    """

    def __init__(self, process: subprocess.Popen[str], errors: Path, setting: dict[str, Any]) -> None:
        self._process, self._errors = process, errors
        self.facts: dict[str, Any] = {}
        self.cpu_s = 0.0
        self.name = str(self._ask(setting)["name"])

    def round(self, **arguments: Any) -> float:
        """Let it do its work once; returns its seconds."""
        answer = self._ask(arguments)
        self.facts, self.cpu_s = answer["facts"], answer["cpu_seconds"]
        return float(answer["seconds"])

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(question, default=str) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words are in the file
        line = self._process.stdout.readline()
        if not line:
            pytest.fail(f"the peer ended: {self._errors.read_text()[-TOLD:]}", pytrace=False)
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(script: str, python: str = sys.executable, **setting: Any) -> Iterator[Peer]:
    """Start a peer's script and prepare it; it ends with the block.

    Args:
        script: its name in ``peer_scripts/``.
        python: the interpreter.
        setting: what its ``prepare`` takes; paths become text.
    """
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        environment = {**os.environ, "GPTQMODEL_CPU_WORKERS": "2"}  # gptqmodel fails without on two cores
        command = [python, str(SCRIPTS / f"{script}.py")]
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
            ) as process,
        ):
            try:
                yield Peer(process, errors, setting)
            finally:
                process.kill()


def need(*modules: str) -> None:
    """Skip unless the main environment has these modules."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        pytest.skip(f"no {missing[0]} here: pip install 'sqlcoder-workbench[peers]'")


def named(variable: str, what: str) -> str:
    """What an environment variable names, or a skip that says what to set it to."""
    if not (value := os.environ.get(variable)):
        pytest.skip(f"set {variable} to {what}")
    return value
