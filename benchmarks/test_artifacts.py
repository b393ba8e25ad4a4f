"""Artifacts in their engines, timed by the code of ``workbench benchmark``: load, first token, rates, whole questions.

    python -m pytest benchmarks/test_artifacts.py               # the bundled model, one workload
    python -m pytest benchmarks/test_artifacts.py -m slow       # its other workloads
    python -m pytest benchmarks/test_artifacts.py --artifact artifacts/mine/gguf-q4_k_m --workload default

All artifacts and workloads asked for are timed in one go, in several processes each that take turns
(``workbench/benchmark.py``), and every repeat is handed to pytest-benchmark. Its tables know seconds only: prefill and
decode stand there as seconds per token, and as rates in the JSON's ``extra_info``, with p95 and p99 of the slow side,
the noise floor between processes, memory watched from outside, and joules per question where the machine has a meter.

What limits decoding: each step reads every weight once, so weight bytes over bandwidth, times the batch; what limits
prefill is two operations per weight and token. The bundled model fits a processor's caches, so neither is near:
``workbench plan`` predicts both for real models and says what share of the roof an engine reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pairs import replay, replayed
from workbench.artifact import open_artifact
from workbench.benchmark import BenchmarkOptions, measure
from workbench.benchmark_result import ArtifactTimes, BenchmarkResult, Figure
from workbench.catalog import get_recipe
from workbench.checkpoint import open_checkpoint
from workbench.convert import make_artifact
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.nano import MODEL_NAME
from workbench.repeats import Repeats
from workbench.workload import named_workloads

BUNDLED = ("fp16", "int8", "gguf-q4_k_m", "gguf-q8_0")
PROCESSES, BUDGET_S = 5, 90.0
LOAD = "load_s"
FIGURES = {
    "ttft_s": "first token",
    "prefill_tokens_per_s": "prefill",
    "decode_tokens_per_s": "decode",
    "question_s": "question",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "result" in metafunc.fixturenames:
        try:
            metafunc.parametrize(("artifact", "workload", "figure"), list(_params(metafunc.config)))
        except WorkbenchError as error:
            raise pytest.UsageError(str(error)) from error


def _params(config: pytest.Config) -> Iterator[Any]:
    """All rows of the tables; workloads beyond the quick ones are slow unless they were asked for.

    A row is an artifact (a recipe of the bundled model, or the folder that ``--artifact`` named), a workload's name
    (empty for loading) and a figure; its id tells the engine too: ``gguf-q4_k_m-llama_cpp-question-decode``.
    """
    asked = config.getoption("workload")
    quick = {one.name for one in named_workloads(asked or ("quick",))}
    names = quick if asked else [one.name for one in named_workloads(("all",))]
    for artifact, engine in _artifacts(config.getoption("artifact")):
        start = f"{Path(artifact).name}-{engine}"
        yield pytest.param(artifact, "", LOAD, id=f"{start}-load")
        for name in names:
            marks = [] if name in quick else [pytest.mark.slow]
            for figure, called in FIGURES.items():
                identity = f"{start}-{name}-{called.replace(' ', '_')}"
                yield pytest.param(artifact, name, figure, id=identity, marks=marks)


def _artifacts(paths: list[str]) -> list[tuple[str, str]]:
    """Each with its engine."""
    if paths:
        return [(path, str(open_artifact(Path(path)).manifest.recipe["runtime"])) for path in dict.fromkeys(paths)]
    return [(name, get_recipe(name).runtime) for name in BUNDLED]


def _selected(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """What the selected rows name, each once."""
    specs = (getattr(item, "callspec", None) for item in request.session.items)
    found = (spec.params.get(parameter) for spec in specs if spec and "figure" in spec.params)
    return list(dict.fromkeys(value for value in found if value))


@pytest.fixture(scope="session")
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artifacts that the selected rows name; those of the bundled model are made, if their libraries are here."""
    names = _selected(request, "artifact")
    if request.config.getoption("artifact"):
        return {name: Path(name) for name in names}
    store, found = tmp_path_factory.mktemp("artifacts"), {}
    for name in names:
        try:
            found[name] = make_artifact(open_checkpoint(MODEL_NAME), get_recipe(name), store / name).artifact.path
        except PrerequisiteError as error:
            print(error)  # its rows are skipped
    return found


@pytest.fixture(scope="session")
def result(request: pytest.FixtureRequest, folders: dict[str, Path]) -> BenchmarkResult:
    """Everything that was selected, timed in one go."""
    names = tuple(_selected(request, "workload"))
    if request.config.getoption("benchmark_disable"):
        options = BenchmarkOptions(names or ("quick",), 1, Repeats(0, 1, 1))
    else:
        budget_s = BUDGET_S if names == ("question",) else BenchmarkOptions.budget_s
        options = BenchmarkOptions(names or ("quick",), PROCESSES, budget_s=budget_s)
    return measure(list(folders.values()), options)


@pytest.mark.benchmark(timer=replayed)
def test_artifact(
    benchmark: Any, folders: dict[str, Path], result: BenchmarkResult, artifact: str, workload: str, figure: str
) -> None:
    if artifact not in folders:
        pytest.skip(f"a library for {artifact} is missing; workbench doctor names it")
    times = result.artifacts[list(folders).index(artifact)]
    title = named_workloads((workload,))[0].title if workload else ""
    if title in times.left_out:
        pytest.skip(times.left_out[title])
    found = times.figure(title, figure)
    assert found and found.value
    benchmark.group = f"{FIGURES.get(figure, 'load')} {title}".strip()
    benchmark.extra_info.update(facts(result, times, found))
    replay(benchmark, [seconds(found, value) for value in found.values])


def seconds(figure: Figure, value: float) -> float:
    """As pytest-benchmark wants it: a rate becomes seconds per token."""
    return value if figure.unit == "s" else 1 / value


def facts(result: BenchmarkResult, times: ArtifactTimes, figure: Figure) -> dict[str, Any]:
    """What the JSON tells besides pytest-benchmark's seconds."""
    others = {name: times.figure(figure.workload, name) for name in ("peak_memory_bytes", "energy_j")}
    return {
        **{name: other.value if other else None for name, other in others.items()},
        "memory_of": others["peak_memory_bytes"].of if others["peak_memory_bytes"] else "",
        "artifact": times.name,
        "runtime": times.runtime,
        "device": times.device,
        "threads": result.threads,
        "workload": next((asdict(one) for one in times.workloads if one.title == figure.workload), None),
        "figure": figure.name,
        "unit": figure.unit,
        "value": figure.value,
        "p95": figure.p95,
        "p99": figure.p99,
        "noise_floor": figure.floor,
        "aa_difference": figure.aa,
        "process_medians_s": [seconds(figure, math.exp(log)) for log in figure.logs],
        "yardsticks": list(result.yardsticks),
        "notes": list(times.notes),
    }
