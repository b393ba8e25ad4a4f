"""GPTQ of StarCoder-15B's true shape on one GPU, unattended: seconds per block, peak of memory, errors beside float64.

    python -m benchmarks.gptq_on_gpu                               # 15.5B, 128 x 2,048 tokens, on a CUDA device
    python -m benchmarks.gptq_on_gpu --device cpu --shape tiny     # the same code here, in seconds

A process of its own does the work (``gptq_on_gpu_run.py``, which tells what is timed). This one prints what it finds as
it goes, reads its memory from outside (NVML; RSS), and ends it when its time is up: after ``--seconds`` no block is
begun, 45 seconds later the process is killed. It ends within ten minutes whatever happens. Blocks that were not reached
are extrapolated from the median of those that were, and the result says so.

The total is the goal's: 5 minutes for 40 blocks. What ``predicted`` says comes from operations and data sheets
(``gptq_on_gpu_cost.py``) and was not measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gptq_on_gpu_run import PARTS, add_arguments
from workbench.meter_watch import MeterWatch

GRACE_S = 45
GIB = 2**30


def follow(
    command: list[str], lines: Path, device: str, most_s: float
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Run the process, print its records as they come; they, and the peaks of memory seen from outside, by meter."""
    found = []
    begun = time.monotonic()
    with subprocess.Popen(command) as process:
        watch = MeterWatch(process.pid, device)
        for record in _records(process, lines, begun + most_s):
            found.append(record)
            print(described(record), flush=True)
        if process.poll() is None:
            process.kill()
            print(f"killed after {time.monotonic() - begun:.0f} s")
        process.wait()
        return found, watch.stop()


def _records(process: subprocess.Popen[bytes], lines: Path, until: float) -> Iterator[dict[str, Any]]:
    """Whole lines of a growing file, until the process has ended and all is read, or time is up."""
    seen = 0
    while True:
        ended = process.poll() is not None
        whole = lines.read_text(encoding="utf-8").rsplit("\n", 1)[0].splitlines() if lines.exists() else []
        for line in whole[seen:]:
            if line:
                yield json.loads(line)
        seen = len(whole)
        if ended or time.monotonic() > until:
            return
        time.sleep(0.1)


def described(record: dict[str, Any]) -> str:
    """A record as a line of the table."""
    kind, seconds = record["kind"], record.get("seconds", {})
    if kind == "block":
        parts = "  ".join(f"{part} {seconds.get(part, 0):7.3f}" for part in PARTS)
        peak = f"  peak {record['reserved_bytes'] / GIB:5.2f} GiB" if "reserved_bytes" in record else ""
        return f"block {record['block']:2}  {sum(seconds.values()):7.2f} s  {parts}  at {record['at_s']:6.1f} s{peak}"
    if kind == "small layer":
        how = record["settings"]
        flags = [how["scales"], *(flag for flag in ("symmetric", "desc_act", "static_groups") if how[flag])]
        return (
            f"small layer  {how['bits']} bits  group {how['group_size']:3}  {' '.join(flags):40}  "
            f"error {record['relative_error']:.6f}  in float64 {record['reference_error']:.6f}  "
            f"equal codes {record['equal_codes']:.4f}"
        )
    if kind == "predicted":
        parts = "  ".join(f"{part} {seconds[part]:.3f}" for part in seconds)
        whole = record["blocks"] * sum(seconds.values())
        return f"predicted for an H100: {parts} s a block, {whole:.0f} s, peak {record['peak_bytes'] / GIB:.1f} GiB"
    return json.dumps({key: value for key, value in record.items() if key != "kind"})


def summary(found: list[dict[str, Any]], outside: dict[str, float]) -> dict[str, Any]:
    """The run in one record: total seconds, measured or extrapolated, and peaks of memory."""
    done = [sum(record["seconds"].values()) for record in found if record["kind"] == "block"]
    predicted = next((record for record in found if record["kind"] == "predicted"), None)
    before = sum(sum(record["seconds"].values()) for record in found if record["kind"] == "embed")
    count = predicted["blocks"] if predicted else 0
    total = before + sum(done) + (count - len(done)) * median(done) if done else None
    inside = [record for record in found if "reserved_bytes" in record]
    return {
        "blocks": count,
        "blocks_measured": len(done),
        "seconds_per_block": median(done) if done else None,
        "total_s": total,
        "total_is": "measured" if done and len(done) == count else "extrapolated",
        "peak_allocated_bytes": inside[-1]["allocated_bytes"] if inside else None,
        "peak_reserved_bytes": inside[-1]["reserved_bytes"] if inside else None,
        "peak_seen_from_outside_bytes": outside,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run, print, and return what there is to keep."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "records.jsonl"
        options = ("device", "shape", "samples", "tokens", "seconds", "limit_gib")
        command = [sys.executable, "-m", "benchmarks.gptq_on_gpu_run", "--records", str(lines)]
        for option in options:
            command += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
        found, outside = follow(command, lines, arguments.device, arguments.seconds + GRACE_S)
    result = summary(found, outside)
    return {"arguments": {option: getattr(arguments, option) for option in options}, **result, "records": found}


def main() -> int:
    """Print the table and keep the figures; 1 where no block was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("gptq-on-gpu.json"), help="file of the figures")
    arguments = parser.parse_args()
    result = measure(arguments)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key != "records"}, indent=2))
    return 0 if result["blocks_measured"] else 1


if __name__ == "__main__":
    sys.exit(main())
