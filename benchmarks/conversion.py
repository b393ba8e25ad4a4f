"""Conversion at full size: time beside ``cp``, and anonymous memory watched from outside.

    python -m benchmarks.checkpoints --shape 3b --out /data/sqlcoder-3b
    python -m benchmarks.conversion --model /data/sqlcoder-3b --work /data/work --recipe fp16 --recipe gguf-q8_0

For each recipe, in the same run: ``workbench convert`` in a process of its own, whose RssAnon (private memory that no
file backs: /proc/PID/status) is read ten times a second; then a plain copy with the same bytes in and out. A copy
reads and writes as much, so where the result is smaller than the source, the rest is read without being written.
The page cache is emptied before each where this user may.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

LIMIT_SHARE = 1.3
BLOCK = 16 << 20


@dataclass(frozen=True)
class Run:
    """One conversion beside its copy: bytes, seconds, and the most RssAnon seen in bytes."""

    recipe: str
    bytes_in: int
    bytes_out: int
    convert_s: float
    copy_s: float
    peak_anonymous: int

    def line(self) -> str:
        """A row for the table."""
        return (
            f"{self.recipe:14} {self.bytes_in / 1e9:6.2f} GB in {self.bytes_out / 1e9:6.2f} GB out  "
            f"convert {self.convert_s:6.1f} s  copy {self.copy_s:6.1f} s  ratio {self.convert_s / self.copy_s:5.2f}  "
            f"RssAnon {self.peak_anonymous / 2**20:5.0f} MiB"
        )


def measure(model: Path, recipe: str, work: Path) -> Run:
    """Convert, then copy as much; both results are deleted."""
    out = work / recipe
    shutil.rmtree(out, ignore_errors=True)
    _drop_caches()
    started = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "workbench",
        "convert",
        "--model",
        str(model),
        "--recipe",
        recipe,
        "--out",
        str(out),
    ]
    child = subprocess.Popen(command)
    peak = 0
    while child.poll() is None:
        peak = max(peak, anonymous_bytes(child.pid))
        time.sleep(0.1)
    convert_s = time.perf_counter() - started
    if child.returncode:
        raise SystemExit(f"{recipe} failed")
    bytes_in, bytes_out = _weight_bytes(model), _weight_bytes(out)
    shutil.rmtree(out)
    copy_s = _copy(model, work / "copy", bytes_out)
    return Run(recipe, bytes_in, bytes_out, convert_s, copy_s, peak)


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process and its children; 0 for one that has ended."""
    total = 0
    with contextlib.suppress(OSError):
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        total += int(found[1]) * 1024 if found else 0
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += anonymous_bytes(int(child))
    return total


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.stat().st_size > 1 << 20)


def _copy(model: Path, target: Path, bytes_out: int) -> float:
    """Seconds to copy files of a model until so many bytes are written, and to read the others."""
    _drop_caches()
    target.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    left = bytes_out
    for file in sorted(model.glob("*.safetensors")):
        size = file.stat().st_size
        if size <= left:
            subprocess.run(["cp", str(file), str(target)], check=True)
        else:
            _copy_part(file, target / file.name, left)
        left = max(0, left - size)
    subprocess.run(["sync", str(target)], check=True)
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


def _copy_part(source: Path, target: Path, count: int) -> None:
    """Copy the first bytes with dd, read the rest."""
    blocks = -(-count // BLOCK)
    commands = [
        ["dd", f"if={source}", f"of={target}", f"bs={BLOCK}", f"count={blocks}", "status=none"],
        ["dd", f"if={source}", "of=/dev/null", f"bs={BLOCK}", f"skip={blocks}", "status=none"],
    ]
    for command in commands:
        subprocess.run(command, check=True)


def _drop_caches() -> None:
    subprocess.run(["sync"], check=True)
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder on the disk to be measured")
    parser.add_argument("--recipe", action="append", required=True)
    arguments = parser.parse_args()
    runs = [measure(arguments.model, recipe, arguments.work) for recipe in arguments.recipe]
    print("\n".join(run.line() for run in runs))
