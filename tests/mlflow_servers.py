"""MLflow's own servers as child processes on free ports: the tracking server, and one that answers with a model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
START_S = 300  # a busy machine takes long to import MLflow
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "OMP_NUM_THREADS": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(
    arguments: list[str], log: Path, health: str = "/health", **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``python -m mlflow ...`` with ``--port`` added: its address once it answers, and its process."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # MLflow calls uvicorn by its name
    inherited: Mapping[str, str] = {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": str(ROOT), **environment}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=dict(inherited), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(address + health, process, log)
        yield address, process
    finally:
        end(process)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"MLflow did not start: {log.read_text(errors='replace')[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a server with its workers, which are in a process group of their own."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
    process.wait()
