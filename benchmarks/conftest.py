"""What the benchmarks share: the bundled model as a float16 artifact, questions to ask it, lines after the tables.

``README.md`` here tells how to run, keep and compare them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.compare import compare, figures
from benchmarks.limits import Limits, measured
from benchmarks.ratios import part_lines, ratio_lines, share_lines
from workbench import catalog
from workbench.artifact import Artifact
from workbench.checkpoint import open_checkpoint
from workbench.convert import make_artifact
from workbench.nano import MODEL_NAME
from workbench.plugins import installed_version
from workbench.processors import available_processors
from workbench.request import question_sets
from workbench.runtimes.base import LoadOptions, Session

ROUNDS = 5  # the fewest of which an interval can be told; see pairs.py
LIBRARIES = ("torch", "transformers", "torchao", "numpy", "numba", "onnxruntime", "mlx", "xllamacpp", "psycopg")
SHOWN = pytest.StashKey[list[dict[str, Any]]]()
KEPT = pytest.StashKey[list[dict[str, Any]]]()
COMPARED = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What ``test_artifacts.py`` times."""
    group = parser.getgroup("artifacts")
    group.addoption("--artifact", action="append", default=[], metavar="PATH", help="time this artifact; repeatable")
    group.addoption("--workload", action="append", default=[], metavar="NAME", help="a workload or a set; repeatable")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Digests that conversions remember stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """How often a pair is timed; once with --benchmark-disable, which only shows that everything works."""
    return 1 if pytestconfig.getoption("benchmark_disable") else ROUNDS


@pytest.fixture(scope="session")
def limits() -> Limits:
    """What this machine can do at the most."""
    return measured()


@pytest.fixture(scope="session")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The bundled model as float16."""
    out = tmp_path_factory.mktemp("store") / "fp16"
    return make_artifact(open_checkpoint(MODEL_NAME), catalog.get_recipe("fp16"), out).artifact


@pytest.fixture(scope="session")
def session(fp16: Artifact) -> Iterator[Session]:
    """It loaded in transformers."""
    with catalog.get_runtime("transformers").load(fp16, LoadOptions()) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    """All bundled questions, as the model is shown them."""
    prompt = open_checkpoint(MODEL_NAME).prompt
    return [prompt.render(one.schema(q.db_name), q.question) for one in question_sets() for q in one.questions]


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Keep with a run what decides speed beside the machine; pytest-benchmark warns when a compared run's differ."""
    for name in [name for name in machine_info["cpu"] if name.startswith("hz_actual")]:
        del machine_info["cpu"][name]  # of the moment: it would differ each time
    machine_info["processors"] = available_processors()
    machine_info["versions"] = {name: installed_version(name) for name in LIBRARIES}


def pytest_benchmark_group_stats(config: pytest.Config, benchmarks: list[dict[str, Any]]) -> None:
    """Take note of what will be shown; pytest-benchmark groups it."""
    config.stash[SHOWN] = benchmarks


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Take note of what is kept, every round's time included."""
    config.stash[KEPT] = output_json["benchmarks"]


def pytest_benchmark_compare_machine_info(config: pytest.Config, compared_benchmark: dict[str, Any]) -> None:
    """Take note of a kept run that --benchmark-compare names."""
    config.stash.setdefault(COMPARED, []).append(compared_benchmark)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Ratios to peers, shares of limits, and with --benchmark-compare what differs beyond noise, below the tables."""
    now = [one for one in config.stash.get(SHOWN, []) if one["path"] is None]
    sections = {
        "ours beside its peers": ratio_lines(now),
        "ours beside its limits": share_lines(now),
        "how its time splits, with each part's share of the limit": part_lines(now),
    }
    for kept in config.stash.get(COMPARED, []):
        title = f"beside the run of {kept['datetime'][:16]}"
        sections[title] = compare(figures(kept["benchmarks"]), figures(config.stash.get(KEPT, [])), {})
    for title, lines in sections.items():
        if lines:
            terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
