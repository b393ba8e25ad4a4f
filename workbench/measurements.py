"""The figures of one artifact: measured where the profile's machine is here, predicted otherwise.

File size and bits per weight are always measured. Speed and memory are measured only on the profile's own
machine and only when the engine runs the artifact as its users would; where it does not (4-bit
weights dequantized at load, for want of a GPU) there is no figure, and a note says why.
"""

from __future__ import annotations

from workbench.artifact import Manifest
from workbench.measure import Measurement, percentile
from workbench.plan import PlannedArtifact
from workbench.trial import TrialResult

ALWAYS_MEASURED = ("weight_bytes", "bits_per_weight")


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
    # Rates are better when higher, so their bad 95th percentile is the 5th from below.
    series = [
        ("ttft_s", "s", [t.ttft_s for t in trial.timings], 0.95),
        ("prefill_tokens_per_s", "tokens/s", [t.prefill_tokens_per_s for t in trial.timings], 0.05),
        ("decode_tokens_per_s", "tokens/s", [t.decode_tokens_per_s for t in trial.timings], 0.05),
        ("question_s", "s", [t.total_s for t in trial.timings], 0.95),
    ]
    timed = [
        Measurement(
            name, percentile(values, 0.5), unit, "measured", machine, percentile(values, bad), len(values), conditions
        )
        for name, unit, values, bad in series
    ]
    peak = trial.device_peak_bytes or trial.peak_rss_bytes
    kind = "device allocator" if trial.device_peak_bytes else "resident set of the engine's process"
    return [
        *timed,
        Measurement("load_s", trial.load_s, "s", "measured", machine, samples=1),
        Measurement("peak_memory_bytes", peak, "bytes", "measured", machine, samples=1, conditions={"of": kind}),
    ]
