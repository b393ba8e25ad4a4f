"""Two kept runs of the benchmarks side by side, calling a difference only what is more than noise.

    python -m benchmarks.compare OLD.json NEW.json          # as pytest --benchmark-compare prints below its tables
    python -m benchmarks.compare OLD.json NEW.json --noise SAME.json AGAIN.json

Within a run, the rounds tell how far a median can be trusted: the sign test's interval. Between two runs more
changes than that: where memory lies, what else the machine does, how warm it is. Only running the same thing twice
shows how much, so ``--noise`` takes two runs of one commit (an A/A pair). One pair is one draw of the noise, and the
next may be larger: the floor of a benchmark is three times what it moved there, or three times what half of all moved,
or 5%, whichever is most. Called slower or faster is a benchmark whose intervals lie apart *and* whose medians differ by
more than its floor. Without an A/A pair nothing is called.

A benchmark that stands beside a peer is compared by its ratio to the peer, timed in turn with it: that cancels what
slowed both. Artifacts are timed in several processes, so their noise is known without an A/A pair: they are compared as
``workbench benchmark --against`` does (``workbench/noise.py``).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.pairs import interval_of
from workbench.noise import LEAST_BETWEEN_RUNS, Difference, compare_runs, holm
from workbench.yardstick import allowance

DRAWS = 3  # times the noise that was seen


@dataclass(frozen=True)
class Figure:
    """What one run found of one benchmark.

    Attributes:
        value: seconds, or how many times faster than the peer.
        interval: of it, where it is known.
        higher_is_better: whether it is such a ratio.
        logs: logarithms of each process's median, of what was timed in several.
        yardsticks: what the machine took for fixed work in that run.
    """

    value: float
    interval: tuple[float, float] | None
    higher_is_better: bool = False
    logs: tuple[float, ...] = ()
    yardsticks: tuple[Mapping[str, float], ...] = ()

    def __format__(self, spec: str) -> str:
        unit = "x" if self.higher_is_better else " s"
        return format(f"{self.value:.4g}{unit}", spec)


def read(file: Path) -> dict[str, Figure]:
    """The figures of a file kept by pytest-benchmark."""
    return figures(json.loads(file.read_text(encoding="utf-8"))["benchmarks"])


def figures(benchmarks: Iterable[Mapping[str, Any]]) -> dict[str, Figure]:
    """By test, of pytest-benchmark's JSON; a peer's own side is left out, since ours holds the ratio."""
    return {one["fullname"]: _figure(one) for one in benchmarks if one["extra_info"].get("side") != "peer"}


def _figure(one: Mapping[str, Any]) -> Figure:
    info, data = one["extra_info"], one["stats"]["data"]
    if "times_faster" in info:
        low, high = info["times_faster_low"], info["times_faster_high"]
        return Figure(info["times_faster"], None if low is None else (low, high), True)
    logs = tuple(math.log(seconds) for seconds in info.get("process_medians_s", ()))
    return Figure(median(data), interval_of(data), logs=logs, yardsticks=tuple(info.get("yardsticks", ())))


def change(old: Figure, new: Figure) -> float:
    """By what factor it became better, as a logarithm: twice and half as fast are opposites, 0 is no change."""
    better = math.log(new.value / old.value)
    return better if new.higher_is_better else -better


def noise_floors(same: Mapping[str, Figure], again: Mapping[str, Figure]) -> dict[str, float]:
    """What each benchmark has to change by to be called so, as logarithms, from two runs with nothing changed."""
    moved = {name: abs(change(same[name], again[name])) for name in same if name in again}
    usual = median(moved.values()) if moved else 0.0
    return {name: max(LEAST_BETWEEN_RUNS, DRAWS * usual, DRAWS * one) for name, one in moved.items()}


def verdict(old: Figure, new: Figure, floor: float | None) -> str:
    """``faster``, ``slower`` or why neither, of what was timed in one process.

    Args:
        old: before.
        new: after.
        floor: of ``noise_floors``; ``None`` without an A/A pair.
    """
    if old.interval is None or new.interval is None:
        return "too few rounds"
    if old.interval[0] <= new.interval[1] and new.interval[0] <= old.interval[1]:
        return "no difference: the rounds overlap"
    if floor is None:
        return "undecided: an A/A pair tells whether this is noise"
    return _word(old, new) if abs(change(old, new)) > floor else f"no difference: noise floor {math.expm1(floor):.1%}"


def _word(old: Figure, new: Figure) -> str:
    return "faster" if change(old, new) > 0 else "slower"


def compare(old: Mapping[str, Figure], new: Mapping[str, Figure], floors: Mapping[str, float]) -> list[str]:
    """A line for each benchmark that both runs have; ``floors`` are those of ``noise_floors``, if any."""
    both = [name for name in old if name in new]
    tested = _tested({name: (old[name], new[name]) for name in both if old[name].logs and new[name].logs})

    def judge(name: str) -> str:
        if name not in tested:
            return verdict(old[name], new[name], floors.get(name))
        word = _word(old[name], new[name]) if tested[name].called else "no difference"
        return f"{word}: p {tested[name].p:.2g}, noise floor {tested[name].floor:.1%}"

    width = max(map(len, both), default=0)
    changes = {name: math.expm1(change(old[name], new[name])) for name in both}
    return [f"{name:{width}} {old[name]:>10} {new[name]:>10} {changes[name]:+7.1%}  {judge(name)}" for name in both]


def _tested(pairs: Mapping[str, tuple[Figure, Figure]]) -> dict[str, Difference]:
    """What was timed in several processes, called over the whole table."""
    found = [compare_runs(new.logs, old.logs, allowance(new.yardsticks, old.yardsticks)) for old, new in pairs.values()]
    return dict(zip(pairs, holm(found), strict=True))


def main() -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--noise", type=Path, nargs=2, metavar=("SAME", "AGAIN"), help="two runs with nothing changed")
    arguments = parser.parse_args()
    floors = noise_floors(*map(read, arguments.noise)) if arguments.noise else {}
    print("\n".join(compare(read(arguments.old), read(arguments.new), floors)))


if __name__ == "__main__":
    main()
