"""Speed of a model on a machine, predicted by a roofline (Williams, Waterman, Patterson, CACM 52(4), 2009).

Decoding one token reads every weight once, so it takes bytes / (bandwidth x share reached) plus the engine's fixed
cost per layer; reading a prompt takes 2 x parameters operations per token at the share of the compute rate reached.
"""

from __future__ import annotations

from workbench.catalog import get_runtime
from workbench.hardware import GIB, HardwareProfile
from workbench.measure import Measurement
from workbench.runtimes.base import EngineFacts
from workbench.shape import ModelShape
from workbench.workload import TYPICAL, Workload

PREDICTOR = "roofline model v1"
# An engine that states no facts for a backend is assumed to be a middling one.
FALLBACK_FACTS = EngineFacts(0.5, 0.35, 2.5e-4, int(1.0 * GIB))


def engine_facts(runtime: str, backend: str) -> EngineFacts:
    """What an engine adds to the roofline on a backend."""
    return get_runtime(runtime).facts.get(backend, FALLBACK_FACTS)


def predict_speed(
    shape: ModelShape,
    parameters: int,
    resident_bytes: int,
    profile: HardwareProfile,
    runtime: str,
    workload: Workload = TYPICAL,
) -> tuple[Measurement, ...]:
    """``ttft_s``, ``prefill_tokens_per_s``, ``decode_tokens_per_s`` and ``question_s`` of a workload.

    Args:
        shape: of the model.
        parameters: weights of the model, which a prompt's tokens are multiplied with.
        resident_bytes: of the weights as the engine holds them; decoding reads them once a token.
        profile: the machine.
        runtime: the engine's name.
        workload: what is asked of it.

    Returns:
        Predictions; none where the profile states no bandwidth or no compute rate.
    """
    bandwidth, compute = profile.bandwidth_gb_per_s.value, profile.fp16_tflops.value
    if bandwidth is None or compute is None:
        return ()
    facts = engine_facts(runtime, profile.backend)
    fixed_s = shape.layers * facts.layer_overhead_s
    bytes_read = resident_bytes + workload.sequences * shape.kv_cache_bytes(workload.prompt_tokens)
    decode_s = bytes_read / (bandwidth * 1e9 * facts.bandwidth_share) + fixed_s
    prompt_s = workload.batch * workload.prompt_tokens * 2 * parameters / (compute * 1e12 * facts.compute_share)
    ttft_s = max(prompt_s, decode_s)  # a short prompt still reads every weight once
    figures = [
        ("ttft_s", ttft_s, "s"),
        ("prefill_tokens_per_s", workload.batch * workload.prompt_tokens / ttft_s, "tokens/s"),
        ("decode_tokens_per_s", workload.batch / decode_s, "tokens/s"),
        ("question_s", ttft_s + workload.new_tokens * decode_s, "s"),
    ]
    conditions = {
        "runtime": runtime,
        "prompt_tokens": workload.prompt_tokens,
        "new_tokens": workload.new_tokens,
        "batch": workload.batch,
        "beams": workload.beams,
    }
    return tuple(
        Measurement(name, value, unit, "predicted", PREDICTOR, conditions=conditions) for name, value, unit in figures
    )
