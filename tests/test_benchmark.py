"""Benchmarks of the mock runtime, in real processes: what is kept, what is compared, what is said when it cannot be."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from benchmarked import mock_artifact

from workbench.benchmark import BenchmarkOptions, measure
from workbench.benchmark_compare import caveats, compare_artifacts, compare_with, summary
from workbench.benchmark_file import benchmark_document, kept_path, read_benchmark, stats, write_benchmark
from workbench.benchmark_result import result_of, result_record
from workbench.benchmark_tables import figures_table
from workbench.errors import ArtifactError, WorkbenchError
from workbench.measure import Score
from workbench.right_answers import RightShare

QUICK = BenchmarkOptions(("question", "wide-schema"), processes=3, threads=1)
SIZE = "512+64"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A fast artifact, one that takes twice as long, and the first once more."""
    folder = tmp_path_factory.mktemp("made")
    fast = mock_artifact(folder / "fast", noise=0.01, process_noise=0.001)
    slow = mock_artifact(folder / "slow", noise=0.01, process_noise=0.001, token_s=0.002)
    return measure([fast, slow, fast], QUICK)


def test_every_figure_has_its_repeats_by_process(result):
    fast = result.artifacts[0]
    question = fast.figure(SIZE, "question_s")
    assert question.value == pytest.approx(0.064, rel=0.05)
    assert question.value <= question.p95 <= question.p99
    assert [len(process) >= 5 for process in question.processes] == [True] * 3
    assert fast.figure(SIZE, "decode_tokens_per_s").p95 <= fast.figure(SIZE, "decode_tokens_per_s").value
    assert 0 < question.floor < 0.5
    assert question.aa >= 0
    assert len(fast.figure("", "load_s").values) == 3
    assert fast.figure("", "peak_memory_bytes").value > 5e6
    assert fast.figure("", "peak_memory_bytes").of == "resident set of the engine's process"
    assert [one.title for one in fast.workloads] == [SIZE, "2048+100"]
    assert len(result.yardsticks) == 9


def test_the_slow_one_is_told_from_the_fast_one_and_the_equal_one_is_not(result):
    compared = {(one.artifact, one.workload, one.name): one for one in compare_artifacts(result)}
    slow = compared["m slow", SIZE, "question_s"]
    assert slow.difference.called
    assert slow.difference.ratio == pytest.approx(2, rel=0.05)
    assert slow.text.startswith("2 x [") or slow.text.startswith("1.9") or slow.text.startswith("2.0")
    equal = compared["m fast (3)", SIZE, "question_s"]
    assert not equal.difference.called
    assert "no difference told" in equal.text
    assert "at most 1 would call any" in summary(list(compared.values()))


def test_a_run_beside_itself_shows_no_difference(result):
    assert not any(one.difference.called for one in compare_with(result, result))
    assert any("moved by 0.0%" in text for text in caveats(result, result))


def test_what_changed_since_the_earlier_run_is_said(result):
    first = result.artifacts[0]
    earlier = replace(
        result, machine="another", threads=9, artifacts=(replace(first, build_key="other"), result.artifacts[1])
    )
    told = " ".join(caveats(result, earlier))
    for text in ("another machine", "used 9 threads", "not made of the same", "was not in the earlier run"):
        assert text in told
    assert {one.artifact for one in compare_with(result, earlier)} == {"m fast", "m slow"}


def test_the_file_is_read_back(result, tmp_path):
    write_benchmark(result, tmp_path / "new" / "one.json")
    assert read_benchmark(tmp_path / "new" / "one.json") == result
    assert result_of(json.loads(json.dumps(result_record(result))), "x") == result


@pytest.mark.parametrize(
    ("model", "folder"), [("m", "m"), ("My Model", "My Model"), ("../../etc", "etc"), ("..", "model"), ("/", "model")]
)
def test_whatever_a_manifest_names_the_result_is_kept_in_the_store(result, tmp_path, model, folder):
    named = replace(
        result, artifacts=(replace(result.artifacts[0], name=f"{model} q4"),), started="2026-01-01T00:00:00"
    )
    assert kept_path(named, tmp_path) == tmp_path / folder / "benchmarks" / "2026-01-01T000000.json"


def test_results_of_one_second_are_kept_side_by_side(result, tmp_path):
    started, kept = replace(result, started="2026-01-01T00:00:00"), []
    for _ in range(3):
        kept.append(kept_path(started, tmp_path))
        write_benchmark(started, kept[-1])
    assert [path.stem for path in kept] == ["2026-01-01T000000", "2026-01-01T000000-2", "2026-01-01T000000-3"]


def test_a_slow_rate_keeps_its_digits(result):
    fast = result.artifacts[0]
    slow = tuple(replace(one, value=0.437) if one.unit == "tokens/s" else one for one in fast.figures)
    row = figures_table(replace(result, artifacts=(replace(fast, figures=slow),))).rows[0]
    assert row[4:6] == ("0.437/s", "0.437/s")


@pytest.mark.parametrize("text", ["{}", "[1]", "no json", '{"workbench": {"schema_version": 1}}'])
def test_another_file_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(WorkbenchError) as refused:
        read_benchmark(tmp_path / "one.json")
    assert "\n" not in str(refused.value)
    with pytest.raises(WorkbenchError, match="there are no benchmarks at"):
        read_benchmark(tmp_path / "absent.json")


def test_pytest_benchmark_reads_the_file(result, tmp_path):
    for name in ("a", "b"):
        write_benchmark(replace(result, started="2026-01-01T00:00:00"), tmp_path / f"{name}.json")
    command = [sys.executable, "-m", "pytest_benchmark", "compare", tmp_path / "a.json", tmp_path / "b.json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "question_s[m slow: 512+64]" in ran.stdout
    assert "Failed" not in ran.stderr


def test_its_statistics_are_pytest_benchmarks():
    from pytest_benchmark.stats import Stats

    values = [0.3, 0.1, 0.25, 0.2, 0.9, 0.22, 0.21, 0.19]
    theirs = Stats()
    for value in values:
        theirs.update(value)
    ours = stats(values)
    for name in ("min", "max", "mean", "stddev", "rounds", "median", "ops", "total", "stddev_outliers"):
        assert ours[name] == pytest.approx(getattr(theirs, name)), name
    assert set(ours) - {"data", "iterations"} <= {name for name in dir(theirs)}


def test_cost_per_correct_answer(result):
    right = RightShare(Score("sql_accuracy", 80, 100), "heldout", "a report")
    one = replace(result.artifacts[0], right=right)
    (workload,) = (workload for workload in one.workloads if workload.title == SIZE)
    cost = one.per_correct(workload, "question_s")
    assert cost.value == pytest.approx(one.figure(SIZE, "question_s").value / 0.8)
    assert cost.low < cost.value < cost.high
    assert result.artifacts[0].per_correct(workload, "question_s") is None
    document = benchmark_document(replace(result, artifacts=(one,)))
    assert document["workbench"]["artifacts"][0]["per_correct"][SIZE]["question_s"]["value"] == cost.value


def test_what_an_engine_cannot_do_is_left_out_with_the_reason(tmp_path):
    able = mock_artifact(tmp_path / "able")
    small = mock_artifact(tmp_path / "small", holds=700, most_beams=1)
    unseen = mock_artifact(tmp_path / "unseen", representative=False)
    options = BenchmarkOptions(("question", "typical", "question-beams-4"), processes=1, threads=1)
    found = measure([able, small, unseen], options)
    assert found.artifacts[0].left_out == {}
    assert found.artifacts[1].left_out == {
        "1000+100": "1100 tokens exceed its context of 700",
        "512+64, 4 beams": "the mock runtime was told to know no such beam search",
    }
    assert [one.title for one in found.artifacts[1].workloads] == [SIZE]
    assert set(found.artifacts[2].left_out.values()) == {"its speed here is not what users of this format get"}
    assert found.artifacts[2].figures == ()
    assert {one.other for one in compare_artifacts(found)} == {"m able"}


def test_nothing_to_time_is_one_sentence(tmp_path):
    small = mock_artifact(tmp_path / "small", holds=100)
    with pytest.raises(WorkbenchError, match=r"none of the workloads can be timed.*context of 100"):
        measure([small], QUICK)


def test_no_artifact_is_one_sentence(tmp_path):
    with pytest.raises(ArtifactError, match="is no artifact"):
        measure([tmp_path], QUICK)


def test_a_device_the_engine_has_not_is_one_sentence(tmp_path):
    with pytest.raises(WorkbenchError, match="has no cuda; choose cpu"):
        measure([mock_artifact(tmp_path / "one")], replace(QUICK, device="cuda"))


def test_what_does_not_fit_the_memory_is_not_loaded(tmp_path):
    folder = mock_artifact(tmp_path / "large")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"weight_bytes": 1 << 50, "recipe": {"runtime": "transformers"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WorkbenchError, match="run it on a larger machine"):
        measure([folder], QUICK)


def test_a_budget_that_is_spent_ends_after_three_processes(tmp_path):
    found = measure([mock_artifact(tmp_path / "one")], replace(QUICK, processes=50, budget_s=0.0))
    assert found.artifacts[0].processes == 3


def test_an_interrupt_ends_in_order(tmp_path):
    folder = mock_artifact(tmp_path / "one")
    code = (
        "from pathlib import Path\nfrom workbench.__main__ import main\nimport sys\n"
        f"sys.argv = ['workbench', 'benchmark', {str(folder)!r}, '--processes', '500']\n"
        f"sys.argv += ['--out', {str(tmp_path / 'o')!r}]\n"
        "main()"
    )
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731 - a background shell ignores it
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=heed, text=True
    )
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(parent.pid).children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGINT)
    assert parent.wait(timeout=60) == 130
    assert "Traceback" not in parent.stderr.read()
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() for child in children)
    assert not list((tmp_path / "o").rglob("*.json"))


def test_ratios_are_of_logarithms(result):
    figure = result.artifacts[0].figure(SIZE, "question_s")
    assert [math.exp(one) for one in figure.logs] == pytest.approx(
        [sorted(process)[len(process) // 2] for process in figure.processes], rel=0.05
    )
