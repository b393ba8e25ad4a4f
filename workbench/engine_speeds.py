"""What engines reach of a machine's bandwidth and compute, by generation: the calibrated file ``engine_speeds.json``.

An engine's kernels change faster than cards do: llama.cpp of 2023 and of 2025 differ by 20 to 40% on the same card. So
every figure belongs to a generation, named after the month of its measurements; a build from before the next one's
first month belongs to it. ``workbench/speed_fit.py`` writes the file.

    [one.name for one in generations("llama_cpp", get_profile("rtx4090"))]   # newest first
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.hardware import HardwareProfile
from workbench.roofline import Reach

SPEEDS = Path(__file__).with_suffix(".json")
OTHER = "other"
# An engine nobody calibrated is assumed to be a middling one, and its speed known within a factor of 1.8.
_UNKNOWN_SHARES = {"weights": 0.5, "compute": 0.35, "layer_s": 2.5e-4}
_UNKNOWN_SPREAD = 0.6


@dataclass(frozen=True)
class Generation:
    """Builds of an engine whose kernels are alike.

    Attributes:
        name: the month of the measurements it is known by, e.g. ``2025-08``.
        since: first month of its builds.
        about: what sets it apart.
    """

    name: str
    since: str
    about: str


@dataclass(frozen=True)
class EngineSpeed:
    """One generation of an engine on one machine with one kind of weights.

    Attributes:
        generation: which.
        reach: shares of the machine's limits.
        grouped: whether query heads that share keys and values read them once together.
        pass_tokens: of a prompt, read at a time; 0 is all at once.
        table_bits: of an embedding table that stays unquantized; 0 where it has the bits of the rest.
        spread: by ``decode`` and ``prefill``: the logarithm within which nine of ten true values lie.
        evidence: by ``decode`` and ``prefill``: what the shares were measured on.
    """

    generation: Generation
    reach: Reach
    grouped: bool
    pass_tokens: int
    table_bits: int
    spread: dict[str, float]
    evidence: dict[str, str]


UNKNOWN_GENERATION = Generation("any", "", "an engine that was not calibrated")


def generations(runtime: str, profile: HardwareProfile) -> list[Generation]:
    """An engine's generations that are known on a profile's backend, the newest first."""
    records = [one for one in _engine(runtime).get("generations", []) if profile.backend in one["machines"]]
    found = [Generation(one["name"], one["since"], one["about"]) for one in reversed(records)]
    return found or [UNKNOWN_GENERATION]


def generation_at(runtime: str, profile: HardwareProfile, as_of: str | None = None) -> Generation:
    """The generation of builds of a month (``YYYY-MM``); the newest without one, the oldest before all."""
    known = generations(runtime, profile)
    if as_of is None:
        return known[0]
    return next((one for one in known if one.since <= as_of), known[-1])


def engine_speed(runtime: str, profile: HardwareProfile, bits: int) -> EngineSpeed:
    """What an engine reaches on a machine.

    Args:
        runtime: the engine's name, which may carry a generation: ``llama_cpp@2024-05``; else the newest.
        profile: the machine.
        bits: class of the weights: 16, 8 or 4.

    Raises:
        WorkbenchError: the engine has no such generation.
    """
    name, _, wanted = runtime.partition("@")
    known = generations(name, profile)
    generation = next((one for one in known if one.name == wanted), None) if wanted else known[0]
    if generation is None:
        names = ", ".join(one.name for one in known)
        raise WorkbenchError(f"{name} has no generation {wanted!r} on {profile.name}; there are {names}")
    if generation is UNKNOWN_GENERATION:
        return _unknown()
    engine = _engine(name)
    record = next(one for one in engine["generations"] if one["name"] == generation.name)
    machines = record["machines"][profile.backend]
    machine = machines.get(profile.name, machines[OTHER])
    kind = machine["bits"][str(bits)]
    shares = {key: value for key, value in {**machine, **kind}.items() if key in Reach.__dataclass_fields__}
    return EngineSpeed(
        generation,
        Reach(**shares),
        record["grouped"],
        engine.get("pass_tokens", 0),
        engine.get("table_bits", 0),
        {what: engine["spread"][what][kind[what]] for what in ("decode", "prefill")},
        {what: kind[what] for what in ("decode", "prefill")},
    )


def _unknown() -> EngineSpeed:
    spread, evidence = {}, {}
    for what in ("decode", "prefill"):
        spread[what], evidence[what] = _UNKNOWN_SPREAD, "assumption"
    return EngineSpeed(UNKNOWN_GENERATION, Reach(**_UNKNOWN_SHARES), True, 0, 0, spread, evidence)


def _engine(runtime: str) -> dict[str, Any]:
    found: dict[str, Any] = _all().get(runtime, {})
    return found


@cache
def _all() -> dict[str, dict[str, Any]]:
    speeds: dict[str, dict[str, Any]] = json.loads(SPEEDS.read_text(encoding="utf-8"))
    return speeds
