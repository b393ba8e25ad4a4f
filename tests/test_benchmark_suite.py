"""The suite in ``benchmarks/`` collects without its peers, keeps what ``--benchmark-compare`` reads, knows noise."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import Figure, compare, noise_floors, read, verdict
from benchmarks.pairs import Pair, in_turn, interval_of
from benchmarks.peers import started
from benchmarks.ratios import ratio_lines

ROOT = Path(__file__).parent.parent
TINY = """
import pytest
from benchmarks.pairs import Pair, replay, replayed, show

PAIR = Pair("a peer", (1.0, 1.1, 1.0, 0.9, 1.0), (2.0, 2.2, 2.1, 1.8, 2.0))

@pytest.mark.benchmark(timer=replayed, group="tiny")
@pytest.mark.parametrize("side", ["ours", "peer"])
def test_pair(benchmark, side):
    show(benchmark, PAIR, side)

def test_plain(benchmark):
    benchmark.pedantic(sum, (range(10),), rounds=5)
"""
# Packages that only peers need; hiding them is the nearest to an environment without them.
PEERS = ("mlx", "mlx_lm", "onnx", "onnx_ir", "onnxruntime", "torchao", "libggml", "gptqmodel", "llmcompressor")
HIDE = f"import sys; sys.modules.update(dict.fromkeys({PEERS!r}))"


def run_pytest(*arguments: Any, cwd: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, as a user starts it."""
    command = f"{code}\nimport sys, pytest\nsys.exit(pytest.main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", command, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment,
    )  # fmt: skip


def test_the_suite_collects_without_the_peers(tmp_path):
    done = run_pytest("--collect-only", "-m", "", ROOT / "benchmarks", cwd=tmp_path, code=HIDE)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("artifacts", "conversion", "ggml", "gptq", "scoring", "generation"):
        assert f"test_{name}.py" in done.stdout


def test_a_run_is_kept_and_the_next_is_compared_with_it(tmp_path):
    for file in ("conftest.py", "pytest.ini"):
        (tmp_path / file).write_text((ROOT / "benchmarks" / file).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_tiny.py").write_text(TINY, encoding="utf-8")
    first = run_pytest(cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "tiny: 2.00 [2.00, 2.10] times as fast as a peer" in first.stdout
    (kept,) = tmp_path.glob(".benchmarks/*/0001_*.json")
    by_name = {one["name"]: one for one in json.loads(kept.read_text())["benchmarks"]}
    assert by_name["test_pair[ours]"]["stats"]["data"] == pytest.approx([1.0, 1.1, 1.0, 0.9, 1.0])
    assert by_name["test_pair[peer]"]["extra_info"]["times_faster"] == 2.0

    second = run_pytest("--benchmark-compare", cwd=tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Comparing against benchmarks from" in second.stdout + second.stderr
    assert "test_pair[ours] (NOW)" in second.stdout
    assert "test_plain (0001" in second.stdout
    assert " beside the run of 20" in second.stdout
    lines = compare(*map(read, sorted(tmp_path.glob(".benchmarks/*/*.json"))), {})
    assert [line.split()[0] for line in lines] == ["test_tiny.py::test_pair[ours]", "test_tiny.py::test_plain"]
    assert "no difference" in lines[0]


def test_a_peer_is_timed_inside_its_own_process(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "weights").write_bytes(b"12345")
    with started("copy_folder", source=tmp_path / "source") as peer:
        assert peer.name == "a plain copy"
        assert 0 < peer.round(out=tmp_path / "out") < 60
        assert (tmp_path / "out" / "weights").read_bytes() == b"12345"
        with pytest.raises(pytest.fail.Exception, match="FileExistsError"):
            peer.round(out=tmp_path / "out")


def test_rounds_are_taken_in_turn_after_a_warm_up():
    calls: list[str] = []

    def side(name: str, seconds: float) -> Any:
        return lambda: calls.append(name) or seconds

    ours, peer = in_turn(side("ours", 1.0), side("peer", 2.0), 3)
    assert (ours, peer) == ((1.0,) * 3, (2.0,) * 3)
    assert calls == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]


@pytest.mark.parametrize(
    ("count", "cut"),
    # The sign test at 90%: of 5 to 7 values the extremes, of 8 to 10 the second from each end, then the third.
    [(4, None), (5, 0), (7, 0), (8, 1), (10, 1), (11, 2), (12, 2)],
)
def test_the_interval_of_a_median_is_the_sign_tests(count, cut):
    values = [float(n) for n in range(count)]
    assert interval_of(values) == (None if cut is None else (cut, count - 1 - cut))


@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=9), st.floats(0.1, 10))
def test_a_machine_that_slows_both_changes_no_ratio(seconds, factor):
    doubled = tuple(2 * one for one in seconds)
    slowed = Pair("p", tuple(factor * one for one in seconds), tuple(factor * one for one in doubled))
    assert slowed.times_faster == pytest.approx(Pair("p", tuple(seconds), doubled).times_faster)


def test_a_ratio_whose_interval_holds_one_shows_no_difference():
    info = {"side": "ours", "peer": "p 1", "times_faster": 1.1, "times_faster_low": 0.9, "times_faster_high": 1.3}
    (line,) = ratio_lines([{"group": "g", "extra_info": info}, {"group": "g", "extra_info": {"side": "peer"}}])
    assert line == "g: 1.10 [0.90, 1.30] times as fast as p 1, no difference shown"


@pytest.mark.parametrize(
    ("new", "floor", "expected"),
    [
        ((1.05, (0.98, 1.10)), None, "no difference: the rounds overlap"),
        ((1.2, (1.1, 1.3)), None, "undecided: an A/A pair tells whether this is noise"),
        ((1.2, (1.1, 1.3)), math.log(1.25), "no difference: noise floor 25.0%"),
        ((1.2, (1.1, 1.3)), 0.05, "slower"),
        ((0.8, (0.75, 0.85)), 0.05, "faster"),
        ((0.8, None), 0.05, "too few rounds"),
    ],
)
def test_a_difference_inside_the_noise_is_none(new, floor, expected):
    assert verdict(Figure(1.0, (0.95, 1.05)), Figure(*new), floor) == expected


def test_the_floor_is_well_above_one_draw_of_the_noise():
    same = {name: Figure(1.0, None) for name in "abc"}
    again = {"a": Figure(1.0, None), "b": Figure(1.03, None), "c": Figure(0.8, None)}
    floors = noise_floors(same, again)
    assert floors == pytest.approx({"a": 3 * math.log(1.03), "b": 3 * math.log(1.03), "c": -3 * math.log(0.8)})
    assert noise_floors(same, same) == pytest.approx(dict.fromkeys("abc", math.log(1.05)))


def test_a_higher_ratio_is_faster():
    assert verdict(Figure(2.0, (1.9, 2.1), True), Figure(3.0, (2.9, 3.1), True), 0.0) == "faster"


def timed_in_processes(*seconds: float) -> Figure:
    """As ``test_artifacts.py`` leaves it: the noise is between processes."""
    return Figure(median(seconds), (min(seconds), max(seconds)), logs=tuple(map(math.log, seconds)))


def test_what_was_timed_in_processes_is_tested_over_the_whole_table():
    before = {f"t{n}": timed_in_processes(1.00, 1.01, 0.99, 1.00, 1.01) for n in range(4)}
    after = {
        "t0": timed_in_processes(1.50, 1.51, 1.49, 1.50, 1.51),
        "t1": timed_in_processes(0.50, 0.51, 0.49, 0.50, 0.51),
        "t2": timed_in_processes(1.01, 1.00, 1.01, 0.99, 1.00),
        "t3": timed_in_processes(1.01, 1.02, 1.00, 1.01, 1.02),  # below what anybody should call a difference
    }
    words = [line.split("%  ")[1].split(":")[0] for line in compare(before, after, {})]
    assert words == ["slower", "faster", "no difference", "no difference"]


def test_a_machine_that_moved_as_much_is_allowed_for():
    before, after = timed_in_processes(1.0, 1.01, 0.99), timed_in_processes(1.5, 1.51, 1.49)
    moved = [
        replace(one, yardsticks=({"compute_s": seconds, "memory_s": 1.0},))
        for one, seconds in ((before, 1.0), (after, 1.5))
    ]
    assert "slower" in compare({"t": before}, {"t": after}, {})[0]
    assert "no difference" in compare({"t": moved[0]}, {"t": moved[1]}, {})[0]


def test_an_artifact_that_is_none_is_told_in_one_sentence(tmp_path):
    done = run_pytest("--collect-only", "--artifact", tmp_path, ROOT / "benchmarks" / "test_artifacts.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert str(tmp_path) in done.stdout + done.stderr
