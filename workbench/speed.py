"""Speed of a model on a machine, predicted by a roofline that was calibrated on published measurements.

Decoding reads every weight once a token, reading a prompt multiplies every weight with each token
(``workbench/roofline.py``). How much of the bandwidth and the compute rate an engine reaches depends on the card, the
kind of weights and the *generation* of the engine (``workbench/engine_speeds.py``). So every figure says which
generation it speaks of, and its interval is where nine of ten published figures of its sort lay when they were left out
of the fit.

    for one in generations("llama_cpp", profile):
        predict_speed(shape, parameters, file_bytes, profile, f"llama_cpp@{one.name}", Workload(1000, 100))
"""

from __future__ import annotations

import math
from typing import Any

from workbench.engine_speeds import EngineSpeed, Generation, engine_speed, generation_at, generations
from workbench.hardware import HardwareProfile
from workbench.measure import Measurement
from workbench.roofline import Load, Rates, decode_terms, prompt_terms, seconds
from workbench.shape import ModelShape
from workbench.speed_facts import body_weights, weight_class
from workbench.workload import TYPICAL, Workload

__all__ = ["PREDICTOR", "Generation", "generation_at", "generations", "predict_speed"]

PREDICTOR = "roofline model v2"


def predict_speed(
    shape: ModelShape,
    parameters: int,
    resident_bytes: int,
    profile: HardwareProfile,
    runtime: str,
    workload: Workload = TYPICAL,
) -> tuple[Measurement, ...]:
    """``ttft_s``, ``prefill_tokens_per_s``, ``decode_tokens_per_s`` and ``question_s`` of a workload.

    The rate of decoding is the mean over the answer, counted in answers' tokens: beams write one answer together.

    Args:
        shape: of the model.
        parameters: weights of the model, a head that is the embedding counted once.
        resident_bytes: of the weights as the engine holds them.
        profile: the machine.
        runtime: the engine's name, with ``@`` and a generation's name for another than the newest.
        workload: what is asked of it.

    Returns:
        Predictions with intervals; none where the profile states no bandwidth or no compute rate.

    Raises:
        WorkbenchError: the engine has no such generation.
    """
    bandwidth, compute = profile.bandwidth_gb_per_s.value, profile.fp16_tflops.value
    if bandwidth is None or compute is None:
        return ()
    engine = engine_speed(runtime, profile, weight_class(8 * resident_bytes / parameters))
    load, rates = _load(shape, parameters, resident_bytes, engine), Rates(bandwidth * 1e9, compute * 1e12)
    prompt = prompt_terms(load, rates, workload.prompt_tokens, workload.batch, engine.pass_tokens)
    ttft_s = seconds(prompt, engine.reach)
    context = workload.prompt_tokens + workload.new_tokens / 2
    step_s = seconds(decode_terms(load, rates, context, workload.sequences, engine.grouped), engine.reach)
    # A short prompt takes no less than one step, which reads the same weights.
    ttft_s = max(ttft_s, seconds(decode_terms(load, rates, workload.prompt_tokens, workload.batch), engine.reach))
    return _figures(ttft_s, step_s, workload, engine, runtime.partition("@")[0])


def _load(shape: ModelShape, parameters: int, resident_bytes: int, engine: EngineSpeed) -> Load:
    """What a token costs, after the table of embeddings is taken out, of which a step reads only a few rows."""
    table = shape.vocab * shape.hidden
    tied = _head_is_the_table(shape, parameters)
    bits = engine.table_bits or 8 * resident_bytes / parameters
    unread = 0.0 if tied else min(table * bits / 8, resident_bytes / 2)
    return Load(shape, resident_bytes - unread, max(parameters - table * (1 if tied else 2), parameters / 2))


def _head_is_the_table(shape: ModelShape, parameters: int) -> bool:
    """Whether the model has one matrix for both, judged by what comes nearest to its number of parameters."""
    table = shape.vocab * shape.hidden
    candidates = {
        body_weights(shape, matrices) + tables * table: tables == 1 for matrices in (2, 3) for tables in (1, 2)
    }
    return candidates[min(candidates, key=lambda total: abs(total - parameters))]


def _figures(
    ttft_s: float, step_s: float, workload: Workload, engine: EngineSpeed, runtime: str
) -> tuple[Measurement, ...]:
    slower, quicker = math.exp(engine.spread["prefill"]), math.exp(engine.spread["decode"])
    ttft = (ttft_s / slower, ttft_s * slower)
    step = (step_s / quicker, step_s * quicker)
    read, written, steps = workload.batch * workload.prompt_tokens, workload.batch, workload.new_tokens - 1
    figures = [
        ("ttft_s", ttft_s, ttft, "s"),
        ("prefill_tokens_per_s", read / ttft_s, (read / ttft[1], read / ttft[0]), "tokens/s"),
        ("decode_tokens_per_s", written / step_s, (written / step[1], written / step[0]), "tokens/s"),
        ("question_s", ttft_s + steps * step_s, (ttft[0] + steps * step[0], ttft[1] + steps * step[1]), "s"),
    ]
    conditions = _conditions(workload, engine, runtime)
    return tuple(
        Measurement(name, value, unit, "predicted", PREDICTOR, conditions=conditions, interval=interval)
        for name, value, interval, unit in figures
    )


def _conditions(workload: Workload, engine: EngineSpeed, runtime: str) -> dict[str, Any]:
    return {
        "runtime": runtime,
        "generation": engine.generation.name,
        "prompt_tokens": workload.prompt_tokens,
        "new_tokens": workload.new_tokens,
        "batch": workload.batch,
        "beams": workload.beams,
        "evidence": dict(engine.evidence),
    }
