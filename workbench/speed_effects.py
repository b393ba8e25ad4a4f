"""How an engine's shares of bandwidth and compute depend on what runs it: effects, fitted to published measurements.

Few machines were measured with every kind of weights in every generation of an engine, so the shares of bandwidth and
compute are sums of effects (on a logit scale, which keeps them below their cap): one of the backend, one of the
generation, of the weights' kind, of the card, and of their pairs. Each effect is pulled towards zero (ridge; Hoerl and
Kennard, Technometrics 12, 1970), pairs more than single effects: what was measured speaks, what was not is borrowed
from its neighbours. Minimised are squared logarithms of predicted over measured.

    fitted = fit(facts.measurements, facts.priors["llama_cpp"])         # of one engine
    fitted.value("weights", Cell("cuda", "2025-08", "rtx4090", 4))      # its share of the card's bandwidth
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.hardware import HardwareProfile
from workbench.speed_facts import Fact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOISE = 0.05  # of one published figure, relative: what two readers of one card differ by
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


def error_of(fact: Fact, fitted: Fit) -> float:
    """Logarithm of predicted over measured rate."""
    import numpy as np

    keys = _keys(cell_of(fact))
    theta = np.array([fitted.effects.get(key, 0.0) for key in keys])
    return float(_Problem([fact], keys, fitted.priors).errors(theta)[0])
