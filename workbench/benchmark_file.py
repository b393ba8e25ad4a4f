"""The file of a benchmark: pytest-benchmark's JSON, with the whole result beside it.

One file serves both: ``pytest-benchmark compare A.json B.json`` reads the part it knows (times, in seconds, grouped by
workload), and ``workbench benchmark --against A.json`` reads ``workbench``, where every figure is kept by process.

Source: pytest-benchmark's documentation, "Comparing past runs"; its fields are those of its version 5.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from workbench import __version__
from workbench.benchmark_result import ArtifactTimes, BenchmarkResult, Figure, result_of, result_record
from workbench.errors import WorkbenchError
from workbench.measure import percentile
from workbench.storage import check_writable, storage_error
from workbench.whole_file import write_whole

KEY = "workbench"
FORMAT_VERSION = "5.0.0"  # of pytest-benchmark, whose fields are written
SECONDS = "s"
LOADING = "load"
OUTLIER_IQR = 1.5  # Tukey's fences


def write_benchmark(result: BenchmarkResult, path: Path) -> None:
    """Write a result; the file appears whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    check_writable(path.parent)
    try:
        write_whole(path, json.dumps(benchmark_document(result), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise storage_error(error, path) from error


def read_benchmark(path: Path) -> BenchmarkResult:
    """Read a result.

    Raises:
        WorkbenchError: there is none at that path, or of another version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))[KEY]
    except OSError as error:
        raise WorkbenchError(f"there are no benchmarks at {path} ({error.strerror}); correct the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WorkbenchError(
            f"{path} was not written by workbench benchmark; give --against a file that --json wrote"
        ) from error
    return result_of(record, str(path))


def kept_path(result: BenchmarkResult, store: Path) -> Path:
    """Where a result is kept: by the model of its first artifact and by when it was started, beside any kept before."""
    model = result.artifacts[0].name.rpartition(" ")[0].rsplit("/", 1)[-1]
    folder = model if model.strip(".") else "model"  # a manifest made elsewhere may name what is no folder of ours
    place, name = store / folder / "benchmarks", result.started.replace(":", "")
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for one in names if not (path := place / f"{one}.json").exists())


def benchmark_document(result: BenchmarkResult) -> dict[str, Any]:
    """The file's JSON values."""
    rows = [(one, figure) for one in result.artifacts for figure in one.figures if figure.unit == SECONDS]
    return {
        "machine_info": {
            "node": platform.node(),
            "processor": platform.processor(),
            "machine": platform.machine(),
            "python_version": platform.python_version(),
            "system": platform.system(),
            "release": platform.release(),
            "cpu": {"brand_raw": result.machine, "count": os.cpu_count()},
        },
        "commit_info": {"id": __version__, "time": None, "dirty": False, "project": "workbench", "branch": "release"},
        "benchmarks": [_benchmark(one, figure) for one, figure in rows if figure.values],
        "datetime": result.started,
        "version": FORMAT_VERSION,
        KEY: result_record(result),
    }


def _benchmark(artifact: ArtifactTimes, figure: Figure) -> dict[str, Any]:
    """One row of pytest-benchmark's: a time of one workload."""
    workload = figure.workload or LOADING
    name = f"{figure.name}[{artifact.name}: {workload}]"
    others = [one for one in artifact.figures if one.workload == figure.workload and one.unit != SECONDS]
    return {
        "group": f"{workload}: {figure.name}",
        "name": name,
        "fullname": f"workbench benchmark::{name}",
        "params": None,
        "param": None,
        "extra_info": {
            "runtime": artifact.runtime,
            "device": artifact.device,
            "processes": artifact.processes,
            "noise_floor": figure.floor,
            "p95_s": figure.p95,
            "p99_s": figure.p99,
            **{one.name: one.value for one in others},
        },
        "options": {
            "disable_gc": False,
            "timer": "perf_counter",
            "min_rounds": len(figure.processes[0]),
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": bool(figure.workload),
        },
        "stats": stats(figure.values),
    }


def stats(values: Sequence[float]) -> dict[str, Any]:
    """pytest-benchmark's statistics of seconds: ``min``, ``median``, ``iqr`` ..., and the ``data`` themselves."""
    ordered = sorted(values)
    mean, deviation = fmean(ordered), stdev(ordered) if len(ordered) > 1 else 0.0
    q1, median, q3 = (percentile(ordered, share) for share in (0.25, 0.5, 0.75))
    low, high = q1 - OUTLIER_IQR * (q3 - q1), q3 + OUTLIER_IQR * (q3 - q1)
    beyond_iqr = sum(not low <= value <= high for value in ordered)
    beyond_deviation = sum(abs(value - mean) > deviation for value in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(ordered),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond_iqr,
        "stddev_outliers": beyond_deviation,
        "outliers": f"{beyond_deviation};{beyond_iqr}",
        "ld15iqr": next(value for value in ordered if value >= low),
        "hd15iqr": next(value for value in reversed(ordered) if value <= high),
        "ops": 1 / mean,
        "total": sum(ordered),
        "data": list(values),
        "iterations": 1,
    }
