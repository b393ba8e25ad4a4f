"""Calibrates the roofline on published measurements: ``python -m workbench.speed_fit`` writes ``engine_speeds.json``.

The shares of bandwidth and compute that each engine reaches are fitted by ``workbench/speed_effects.py`` and written
down for every card that was measured, for those with the same chip, and for all others.

How far a prediction may be off is read from predictions of rows that were left out of the fit: one model on one
card (the card and the kind of weights were seen), one kind of weights on one card, one whole card. Nine of ten of these
errors lie within the spread that is written beside the shares.

    python -m workbench.speed_fit --check
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

from workbench.catalog import get_profile
from workbench.speed_effects import NOISE, Cell, Fit, compute_cap, error_of, fit
from workbench.speed_facts import Fact, Facts, read_facts

OUT = Path(__file__).with_name("engine_speeds.json")
OTHER = "other"
# Levels of evidence, strongest first, and which rows to leave out to see how far a prediction of that level is off.
LEVELS: dict[str, Callable[[Fact], Hashable]] = {
    "card and weights": lambda fact: (fact.generation, fact.profile.name, fact.same_shape),
    "card": lambda fact: (fact.generation, fact.profile.name, fact.bits),
    "backend": lambda fact: fact.profile.name,
}
ASSUMED = "assumption"
_ASSUMED_SPREAD = 0.6  # a factor of 1.8 either way, where nothing was measured
_FEW, _ENOUGH = 4, 10  # left-out errors from which a spread can be guessed, and read
_FEW_SPREAD = 0.3  # at least, where few figures or one author's machine are all there is: another's host differs


def held_out_errors(
    rows: Sequence[Fact], priors: dict[str, dict[str, float]], group: Callable[[Fact], Hashable]
) -> list[tuple[Fact, float]]:
    """Each measurement with the logarithm of predicted over measured, from a fit without its group."""
    errors: list[tuple[Fact, float]] = []
    for left_out in sorted({group(fact) for fact in rows}, key=repr):
        rest = [fact for fact in rows if group(fact) != left_out]
        fitted = fit(rest, priors)
        errors += [(fact, error_of(fact, fitted)) for fact in rows if group(fact) == left_out]
    return errors


def calibrate(facts: Facts) -> dict[str, Any]:
    """What ``engine_speeds.json`` holds: shares and spreads of every engine."""
    return {name: _engine(name, engine, facts) for name, engine in facts.engines.items()}


def _engine(name: str, engine: dict[str, Any], facts: Facts) -> dict[str, Any]:
    rows = [fact for fact in facts.measurements if fact.runtime == name]
    priors = facts.priors[name]
    fitted = fit(rows, priors)
    generations = [
        {
            **generation,
            "machines": {backend: _machines(backend, generation["name"], rows, fitted, facts) for backend in priors},
        }
        for generation in engine["generations"]
    ]
    habits: dict[str, Any] = {key: engine[key] for key in ("pass_tokens", "table_bits") if key in engine}
    return {**habits, "spread": spreads(rows, priors), "generations": generations}


def _machines(backend: str, generation: str, rows: Sequence[Fact], fitted: Fit, facts: Facts) -> dict[str, Any]:
    """Shares of each card that was measured, of those with the same chip, and of all others."""
    measured = {fact.profile.name: fact for fact in rows if fact.profile.backend == backend}
    chips = {name: name for name in measured} | {
        name: chip for name, chip in facts.chips.items() if chip in measured and name not in measured
    }
    machines = {}
    for name, chip in {**chips, OTHER: OTHER}.items():
        cap = compute_cap(measured[chip].profile) if chip in measured else 1.0
        seen = [fact for fact in rows if fact.profile.name == name and fact.generation == generation]
        weakest = "card" if chip in measured else "backend" if measured else ASSUMED
        machines[name] = _machine(Cell(backend, generation, chip, 16), cap, fitted, seen, weakest)
    return machines


def _machine(cell: Cell, cap: float, fitted: Fit, seen: Sequence[Fact], weakest: str) -> dict[str, Any]:
    kinds = {}
    for bits in (16, 8, 4):
        here = Cell(cell.backend, cell.generation, cell.card, bits)
        told = {fact.kind for fact in seen if fact.bits == bits}
        kinds[bits] = {
            "weights": _rounded(fitted.value("weights", here)),
            "compute": _rounded(fitted.value("compute", here, cap)),
            "host_layer_s": _rounded(fitted.value("host_layer_s", here)),
            **{kind: "card and weights" if kind in told else weakest for kind in ("decode", "prefill")},
        }
    shared = ("attention", "attention_compute", "activations", "layer_s")
    rows = {"rows": fitted.priors[cell.backend]["rows"]}
    return {**{quantity: _rounded(fitted.value(quantity, cell)) for quantity in shared}, **rows, "bits": kinds}


def spreads(rows: Sequence[Fact], priors: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """By what is timed and by level of evidence: the logarithm within which nine of ten left-out figures lie."""
    errors = {level: held_out_errors(rows, priors, group) for level, group in LEVELS.items()} if rows else {}
    found: dict[str, dict[str, float]] = {}
    for kind in ("decode", "prefill"):
        widest, told = (NOISE if len({fact.source for fact in rows}) > 1 else _FEW_SPREAD), {}
        for level in LEVELS:
            own = [(fact, abs(error)) for fact, error in errors.get(level, []) if fact.kind == kind]
            widest = max(widest, _ninth_tenth(own, level))
            told[level] = _rounded(widest)
        found[kind] = {**told, ASSUMED: _rounded(max(widest, _ASSUMED_SPREAD))}
    return found


def _ninth_tenth(errors: list[tuple[Fact, float]], level: str) -> float:
    """The error that nine of ten stay below; where few were left out, more than their worst and than a floor."""
    import numpy as np

    machines = {fact.profile.name for fact, _ in errors}
    sizes = [error for _, error in errors]
    if (level == "backend" and len(machines) < 2) or len(sizes) < _FEW:
        return max(_ASSUMED_SPREAD, *sizes, 0.0)
    if len(sizes) < _ENOUGH:
        return max(_FEW_SPREAD, 2 * max(sizes))
    return float(np.quantile(sizes, 0.9))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def describe(facts: Facts) -> list[str]:
    """One line per engine, kind and level: how far predictions of left-out measurements are off."""
    import numpy as np

    lines = []
    for name in facts.engines:
        rows = [fact for fact in facts.measurements if fact.runtime == name]
        for level, group in LEVELS.items() if rows else ():
            errors = held_out_errors(rows, facts.priors[name], group)
            for kind in ("decode", "prefill"):
                own = np.array([abs(np.expm1(error)) for fact, error in errors if fact.kind == kind])
                if len(own):
                    middle, most = np.quantile(own, [0.5, 0.9])
                    lines.append(
                        f"{name}, {kind}, {level} left out: median {middle:.1%}, 9 of 10 {most:.1%} ({len(own)})"
                    )
    return lines


def main() -> None:
    """Write the file, or with ``--check`` tell how far predictions of left-out measurements are off."""
    facts = read_facts(get_profile)
    if "--check" in sys.argv[1:]:
        print("\n".join(describe(facts)))
        return
    OUT.write_text(json.dumps(calibrate(facts), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
