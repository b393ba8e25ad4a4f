"""Calibrates the roofline on published measurements: ``python -m workbench.speed_fit`` writes ``engine_speeds.json``.

Few machines were measured with every kind of weights in every generation of an engine, so the shares of bandwidth and
compute are sums of effects (on a logit scale, which keeps them below their cap): one of the backend, one of the
generation, of the weights' kind, of the card, and of their pairs. Each effect is pulled towards zero (ridge; Hoerl and
Kennard, Technometrics 12, 1970), pairs more than single effects: what was measured speaks, what was not is borrowed
from its neighbours. Minimised are squared logarithms of predicted over measured.

How far a prediction may be off is read from predictions of rows that were left out of the fit: one model on one
card (the card and the kind of weights were seen), one kind of weights on one card, one whole card. Nine of ten of these
errors lie within the spread that is written beside the shares.

    python -m workbench.speed_fit --check
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.catalog import get_profile
from workbench.hardware import HardwareProfile
from workbench.speed_facts import Fact, Facts, read_facts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OUT = Path(__file__).with_name("engine_speeds.json")
NOISE = 0.05  # of one published figure, relative: what two readers of one card differ by
OTHER = "other"
# Where quantities start that no prior is stated for.
_STARTS = {"attention": 0.6, "attention_compute": 0.2, "activations": 0.2, "host_layer_s": 1e-9}
# How far effects may go, as standard deviations; the names are those of what they depend on.
_SHARE = {
    "backend": 1.0, "generation": 0.5, "bits": 0.7, "card": 0.7, "generation bits": 0.25, "card bits": 0.25,
    "generation card": 0.25,
}  # fmt: skip
_EFFECTS: dict[str, dict[str, float]] = {
    "weights": _SHARE,
    "compute": _SHARE,
    "attention": {"generation": 0.5},
    "attention_compute": {"backend": 0.3, "generation": 0.3},
    "layer_s": {"generation": 1.0, "card": 0.4},
    "activations": {"generation": 1.0, "card": 0.4},
    "host_layer_s": {"backend": 0.5, "bits": 0.5},
}
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


@dataclass(frozen=True)
class Cell:
    """What shares depend on."""

    backend: str
    generation: str
    card: str
    bits: int

    def level(self, names: str) -> tuple[Any, ...]:
        """The values of what an effect depends on; each effect belongs to one backend."""
        return (self.backend, *(getattr(self, name) for name in names.split() if name != "backend"))


def cell_of(fact: Fact) -> Cell:
    """The cell a measurement belongs to."""
    return Cell(fact.profile.backend, fact.generation, fact.profile.name, fact.bits)


def compute_cap(profile: HardwareProfile) -> float:
    """Largest share of the 16-bit rate that products can reach.

    GeForce cards add up 16-bit products in 16 bits at twice the rate that ``fp16_tflops`` states (32-bit sums), which
    shows in their int8 rate: four times, where data-centre cards have twice.
    """
    int8, fp16 = profile.int8_tops.value, profile.fp16_tflops.value
    return max(1.0, int8 / fp16 / 2) if int8 and fp16 else 1.0


@dataclass(frozen=True)
class Fit:
    """A fitted engine: effects by quantity and level.

    Attributes:
        priors: by backend and quantity.
        effects: fitted values; an effect that no row tells about is zero.
    """

    priors: dict[str, dict[str, float]]
    effects: dict[tuple[Hashable, ...], float]

    def value(self, quantity: str, cell: Cell, cap: float = 1.0) -> float:
        """One quantity of one cell."""
        scale = _prior_scale(quantity, self.priors[cell.backend], cap)
        scale += sum(self.effects.get((quantity, names, *cell.level(names)), 0.0) for names in _EFFECTS[quantity])
        return cap / (1 + math.exp(-scale)) if quantity in ("weights", "compute") else math.exp(scale)


def _prior_scale(quantity: str, prior: dict[str, float], cap: float) -> float:
    """Where a quantity starts, on the scale its effects are added on."""
    value = prior.get(quantity, _STARTS.get(quantity, 0.5))
    if quantity in ("weights", "compute"):
        return math.log(value / (cap - value))
    return math.log(value)


def fit(rows: Sequence[Fact], priors: dict[str, dict[str, float]]) -> Fit:
    """Fit one engine's effects to its measurements."""
    import numpy as np
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    keys = sorted({key for fact in rows for key in _keys(cell_of(fact))}, key=repr)
    if not keys:
        return Fit(priors, {})
    pull = np.array([_EFFECTS[str(key[0])][str(key[1])] for key in keys])
    problem = _Problem(rows, keys, priors)

    def residuals(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.concatenate([problem.errors(theta) / NOISE, theta / pull])
        return values

    def slopes(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.concatenate([problem.slopes(theta) / NOISE, np.diag(1 / pull)])
        return values

    found = least_squares(residuals, np.zeros(len(keys)), slopes, ftol=1e-5, xtol=1e-5, max_nfev=100).x
    return Fit(priors, dict(zip(keys, map(float, found), strict=True)))


def _keys(cell: Cell) -> list[tuple[Hashable, ...]]:
    return [(quantity, names, *cell.level(names)) for quantity, effects in _EFFECTS.items() for names in effects]


class _Problem:
    """All measurements of an engine as arrays: their terms, and which effects each depends on."""

    def __init__(
        self, rows: Sequence[Fact], keys: list[tuple[Hashable, ...]], priors: dict[str, dict[str, float]]
    ) -> None:
        import numpy as np

        place = {key: index for index, key in enumerate(keys)}
        self.design = {quantity: np.zeros((len(rows), len(keys))) for quantity in _EFFECTS}
        self.start = {quantity: np.zeros(len(rows)) for quantity in _EFFECTS}
        self.cap = np.array([compute_cap(fact.profile) for fact in rows])
        for row, fact in enumerate(rows):
            cell = cell_of(fact)
            for key in _keys(cell):
                self.design[str(key[0])][row, place[key]] = 1.0
            for quantity, start in self.start.items():
                cap = float(self.cap[row]) if quantity == "compute" else 1.0
                start[row] = _prior_scale(quantity, priors[cell.backend], cap)
        names = ("weights_s", "products_s", "cache_s", "cache_least_s", "attention_s", "activations_s", "gaps")
        self.terms = {name: np.array([getattr(fact.terms, name) for fact in rows], float) for name in names}
        self.measured_s = np.array([fact.tokens / fact.rate for fact in rows])

    def errors(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithms of predicted over measured rates, as ``roofline.seconds`` adds the terms up."""
        import numpy as np

        parts, host_s, _ = self._parts(theta)
        errors: NDArray[np.float64] = np.log(self.measured_s / np.maximum(sum(parts.values()), host_s))
        return errors

    def slopes(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """How each error changes with each effect, ``[rows, effects]``."""
        import numpy as np

        parts, host_s, slopes = self._parts(theta)
        device_s = sum(parts.values())
        by_host = host_s > device_s
        changes = np.zeros((len(self.measured_s), len(theta)))
        for quantity, part in parts.items():
            weight = np.where(by_host, 0.0, part / device_s) * slopes[quantity]
            changes -= weight[:, None] * self.design[quantity]
        changes -= by_host[:, None] * self.design["host_layer_s"]
        return changes

    def _parts(self, theta: NDArray[np.float64]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
        """Seconds by quantity, seconds of the host, and each part's relative change with its quantity's scale."""
        import numpy as np

        scale = {quantity: self.start[quantity] + self.design[quantity] @ theta for quantity in _EFFECTS}
        weights = 1 / (1 + np.exp(-scale["weights"]))
        compute = 1 / (1 + np.exp(-scale["compute"]))
        terms = self.terms
        read_s = terms["cache_s"] / np.exp(scale["attention"])
        parts = {
            "weights": terms["weights_s"] / weights,
            "compute": terms["products_s"] / (compute * self.cap),
            "attention": np.maximum(read_s, terms["cache_least_s"]),
            "attention_compute": terms["attention_s"] / np.exp(scale["attention_compute"]),
            "layer_s": terms["gaps"] * np.exp(scale["layer_s"]),
            "activations": terms["activations_s"] / np.exp(scale["activations"]),
        }
        slopes = {
            "weights": weights - 1, "compute": compute - 1, "attention": -1.0 * (read_s > terms["cache_least_s"]),
            "attention_compute": -1.0, "layer_s": 1.0, "activations": -1.0,
        }  # fmt: skip
        host_s = terms["gaps"] * np.exp(scale["host_layer_s"])
        return parts, host_s, slopes


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


def error_of(fact: Fact, fitted: Fit) -> float:
    """Logarithm of predicted over measured rate."""
    import numpy as np

    keys = _keys(cell_of(fact))
    theta = np.array([fitted.effects.get(key, 0.0) for key in keys])
    return float(_Problem([fact], keys, fitted.priors).errors(theta)[0])


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
