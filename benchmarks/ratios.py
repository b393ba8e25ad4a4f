"""Lines below the tables: how many times faster ours is than the peer beside it, and how near to the machine's limit.

Below 1 the peer is faster; an interval that holds 1 shows no difference. What they say stands in each benchmark's
extra_info, where ``pairs.show`` and the benchmarks themselves left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def ratio_lines(benchmarks: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each of our sides, in the given order; ``benchmarks`` are those of pytest-benchmark's JSON."""
    return [_line(one) for one in benchmarks if one["extra_info"].get("side") == "ours"]


def share_lines(benchmarks: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each benchmark that knows its limit (``limits.py``)."""
    known = ((one["fullname"], one["extra_info"]) for one in benchmarks)
    ours = ((name, info) for name, info in known if "limit" in info and info.get("side") != "peer")
    return [f"{name}: {info['share_of_limit']:.0%} of {info['limit']}" for name, info in ours]


def part_lines(benchmarks: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each benchmark that knows how its time splits: seconds of each part, and its share of the limit."""
    known = ((one["fullname"], one["extra_info"]) for one in benchmarks if "parts_s" in one["extra_info"])
    return [f"{name}: {_parts(info)}" for name, info in known if info.get("side") != "peer"]


def _parts(info: Mapping[str, Any]) -> str:
    shares = info["parts_share"]
    return ", ".join(f"{part} {seconds:.3g} s ({shares[part]:.0%})" for part, seconds in info["parts_s"].items())


def _line(one: Mapping[str, Any]) -> str:
    info = one["extra_info"]
    low, high = info["times_faster_low"], info["times_faster_high"]
    interval = f" [{low:.2f}, {high:.2f}]" if low is not None else " (too few rounds for an interval)"
    undecided = ", no difference shown" if low is None or low <= 1 <= high else ""
    return f"{one['group']}: {info['times_faster']:.2f}{interval} times as fast as {info['peer']}{undecided}"
