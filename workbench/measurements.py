"""The figures of one artifact: measured where the profile's machine is here, predicted otherwise.

File size and bits per weight are always measured. Speed and memory are measured only on the profile's own
machine and only when the engine runs the artifact as its users would; where it does not (4-bit
weights dequantized at load, for want of a GPU) there is no figure, and a note says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.artifact import Manifest
from workbench.measure import Measurement, percentile
from workbench.plan import PlannedArtifact
from workbench.runtimes.base import Timing
from workbench.trial import TrialResult

ALWAYS_MEASURED = ("weight_bytes", "bits_per_weight")


@dataclass(frozen=True)
class TimedFigure:
    """What is told of timings.

    Attributes:
        name: of the measurement; also the attribute of ``Timing`` that holds it, unless ``attribute`` names another.
        unit: of the measurement.
        slow_is_low: whether its bad side is the lower one, as of a rate.
        attribute: of ``Timing``.
    """

    name: str
    unit: str
    slow_is_low: bool = False
    attribute: str = ""

    def of(self, timing: Timing) -> float:
        """The figure of one timing."""
        return float(getattr(timing, self.attribute or self.name))

    def percentile(self, values: Sequence[float], share: float) -> float:
        """A percentile counted from the good side, so that the 95th is slow for a rate, too."""
        return percentile(list(values), 1 - share if self.slow_is_low else share)


TIMED = (
    TimedFigure("ttft_s", "s"),
    TimedFigure("prefill_tokens_per_s", "tokens/s", slow_is_low=True),
    TimedFigure("decode_tokens_per_s", "tokens/s", slow_is_low=True),
    TimedFigure("question_s", "s", attribute="total_s"),
)


def timing_measurement(
    figure: TimedFigure, timings: Sequence[Timing], machine: str, conditions: dict[str, Any]
) -> Measurement:
    """A figure of repeated timings: their median, the slow 95th and 99th percentile, and every one of them."""
    values = tuple(figure.of(timing) for timing in timings)
    median, p95, p99 = (figure.percentile(values, share) for share in (0.5, 0.95, 0.99))
    return Measurement(
        figure.name, median, figure.unit, "measured", machine, p95, len(values), conditions, p99, values=values
    )


def artifact_measurements(
    planned: PlannedArtifact, manifest: Manifest, trial: TrialResult, machine: str, here: bool
) -> list[Measurement]:
    """All figures of one artifact.

    Args:
        planned: holds the predictions for the profile.
        manifest: of the artifact.
        trial: what its engine did here.
        machine: label of this machine.
        here: whether this machine is the profile's.
    """
    figures = [
        Measurement("weight_bytes", manifest.weight_bytes, "bytes", "measured", "file sizes", samples=1),
        Measurement("bits_per_weight", manifest.bits_per_weight, "bits", "measured", "file sizes", samples=1),
    ]
    if not here:
        return figures + [m for m in planned.predictions if m.name not in ALWAYS_MEASURED]
    if not trial.representative:
        return figures
    return figures + _measured(trial, machine)


def _measured(trial: TrialResult, machine: str) -> list[Measurement]:
    first = trial.timings[0]
    conditions = {"prompt_tokens": first.prompt_tokens, "new_tokens": first.new_tokens, "batch": 1, "beams": 1}
    timed = [timing_measurement(figure, trial.timings, machine, conditions) for figure in TIMED]
    peak = trial.device_peak_bytes or trial.peak_rss_bytes
    kind = "accelerator" if trial.device_peak_bytes else "resident set of the engine's process"
    return [
        *timed,
        Measurement("load_s", trial.load_s, "s", "measured", machine, samples=1),
        Measurement("peak_memory_bytes", peak, "bytes", "measured", machine, samples=1, conditions={"of": kind}),
    ]
