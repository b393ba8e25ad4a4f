"""Two kept runs of the benchmarks side by side, calling a difference only what is more than noise.

    python -m benchmarks.compare OLD.json NEW.json
    python -m benchmarks.compare OLD.json NEW.json --noise SAME.json AGAIN.json

Within a run, the rounds tell how far a median can be trusted: the sign test's interval (``pairs.py``). Between two
runs more changes than that: where memory lies, what else the machine does, how warm it is. Only running the same thing
twice shows how much, so ``--noise`` takes two runs of one commit (an A/A pair), and what a benchmark moved there it
may move again. Called slower or faster is a benchmark whose intervals lie apart *and* whose medians differ by more
than the A/A pair's did; anything else is no difference.

A benchmark that stands beside a peer is compared by its ratio to the peer, timed in turn with it: that cancels what
slowed both.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.pairs import median_interval


@dataclass(frozen=True)
class Figure:
    """What one run found of one benchmark: seconds, or times faster than the peer; the interval where it is known."""

    value: float
    interval: tuple[float, float] | None
    higher_is_better: bool

    def __format__(self, spec: str) -> str:
        unit = "x" if self.higher_is_better else " s"
        return format(f"{self.value:.4g}{unit}", spec)


def figures(file: Path) -> dict[str, Figure]:
    """Of a file kept by pytest-benchmark, by test; a peer's own side is left out, since ours holds the ratio."""
    benchmarks = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    return {one["fullname"]: _figure(one) for one in benchmarks if one["extra_info"].get("side") != "peer"}


def _figure(one: Mapping[str, Any]) -> Figure:
    info = one["extra_info"]
    if "times_faster" in info:
        low, high = info["times_faster_low"], info["times_faster_high"]
        return Figure(info["times_faster"], None if low is None else (low, high), True)
    data = one["stats"]["data"]
    return Figure(median(data), median_interval(data), False)


def change(old: Figure, new: Figure) -> float:
    """By what factor it became better, as a logarithm: twice and half as fast are opposites, 0 is no change."""
    better = math.log(new.value / old.value)
    return better if new.higher_is_better else -better


def verdict(old: Figure, new: Figure, noise: float | None) -> str:
    """``faster``, ``slower`` or why neither.

    Args:
        old: before.
        new: after.
        noise: the change that an A/A pair showed, where there is one.
    """
    if old.interval is None or new.interval is None:
        return "too few rounds"
    if old.interval[0] <= new.interval[1] and new.interval[0] <= old.interval[1]:
        return "no difference: the rounds overlap"
    if noise is not None and abs(change(old, new)) <= abs(noise):
        return "no difference: the A/A pair moved as much"
    word = "faster" if change(old, new) > 0 else "slower"
    return word if noise is not None else f"{word}, if the machine was the same; take an A/A pair"


def compare(old: Mapping[str, Figure], new: Mapping[str, Figure], noise: Mapping[str, float]) -> list[str]:
    """A line for each benchmark that both runs have."""
    return [
        f"{name:60} {old[name]:>10} {new[name]:>10} {math.expm1(change(old[name], new[name])):+7.1%}  "
        f"{verdict(old[name], new[name], noise.get(name))}"
        for name in old
        if name in new
    ]


def main() -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--noise", type=Path, nargs=2, metavar=("SAME", "AGAIN"), help="two runs with nothing changed")
    arguments = parser.parse_args()
    noise: dict[str, float] = {}
    if arguments.noise:
        same, again = map(figures, arguments.noise)
        noise = {name: change(same[name], again[name]) for name in same if name in again}
    print("\n".join(compare(figures(arguments.old), figures(arguments.new), noise)))


if __name__ == "__main__":
    main()
