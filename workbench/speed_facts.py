"""Published measurements of speed: the file ``speed_facts.yaml`` as records, each with the roofline's terms.

Every row was read in the place its source names. The bytes of a model in a format follow from its shape: 16 bits, or
the bits per weight of the format's blocks, with the head where the format keeps it wider.

    for fact in read_facts().measurements: print(fact.profile, fact.model, fact.kind, fact.rate)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from workbench.hardware import HardwareProfile
from workbench.roofline import Load, Rates, Terms, decode_terms, prompt_terms
from workbench.shape import ModelShape

FACTS = Path(__file__).with_suffix(".yaml")
Kind = Literal["prefill", "decode"]
# Bits per weight of the blocks' matrices, of the head, and of the embedding table.
_BITS = {
    "f16": (16.0, 16.0, 16.0),
    "q8_0": (8.5, 8.5, 8.5),
    "q4_0": (4.5, 6.5625, 4.5),
    "q4_k_m": (4.5, 6.5625, 4.5),
    "gptq8": (8.15, 16.0, 16.0),
    "gptq4": (4.15, 16.0, 16.0),
    "mlx4": (4.5, 4.5, 4.5),
}
_Q6_K_MORE = 6.5625 - 4.5  # bits by which q4_k_m widens half of the value and down projections


@dataclass(frozen=True)
class Fact:
    """One published rate.

    Attributes:
        source: where it was read.
        date: of the measurement, ``YYYY-MM``.
        runtime: engine's name.
        generation: of the engine.
        profile: the machine.
        model: name in the file.
        format: of the weights.
        bits: class of the weights: 16, 8 or 4.
        kind: what was timed.
        tokens: tokens in the measured time: of the prompt, or 1 for a mean step of decoding.
        rate: tokens/s.
        terms: of the roofline.
    """

    source: str
    date: str
    runtime: str
    generation: str
    profile: HardwareProfile
    model: str
    format: str
    bits: int
    kind: Kind
    tokens: int
    rate: float
    terms: Terms

    @property
    def same_shape(self) -> str:
        """The model's name without its edition, for models that differ by their training alone."""
        return self.model.replace("llama-1-", "llama-2-")


@dataclass(frozen=True)
class Facts:
    """The whole file.

    Attributes:
        engines: what is known of each engine's generations.
        priors: where the fit starts, by engine and backend.
        chips: profiles of a chip that was measured under another profile's name.
        measurements: all rows.
    """

    engines: dict[str, dict[str, Any]]
    priors: dict[str, dict[str, dict[str, float]]]
    chips: dict[str, str]
    measurements: tuple[Fact, ...]


def weight_class(bits_per_weight: float) -> int:
    """Which kind of kernels multiply weights of so many bits: 16, 8 or 4."""
    return 16 if bits_per_weight >= 12 else 8 if bits_per_weight >= 7 else 4


def read_facts(get_profile: Callable[[str], HardwareProfile], path: Path = FACTS) -> Facts:
    """Read the file.

    Args:
        get_profile: finds a hardware profile by name.
        path: of the file.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    found: list[Fact] = []
    for source in document["sources"]:
        engine = document["engines"][source["runtime"]]
        generation = next(one for one in engine["generations"] if one["name"] == source["generation"])
        for row in source["rows"]:
            found += _facts(source, row, document["models"][row[1]], get_profile(row[0]), {**engine, **generation})
    return Facts(document["engines"], document["priors"], document["chips"], tuple(found))


def _facts(
    source: dict[str, Any], row: list[Any], model: dict[str, Any], profile: HardwareProfile, habits: dict[str, Any]
) -> list[Fact]:
    _, name, weights, prompt_tokens, new_tokens, prefill, decode = row
    load, rates = load_of(model, weights), rates_of(profile)
    common = (source["source"], str(source["date"]), source["runtime"], source["generation"], profile, name, weights)
    bits = weight_class(_BITS[weights][0])
    facts = []
    if prefill:
        terms = prompt_terms(load, rates, prompt_tokens, pass_tokens=habits.get("pass_tokens", 0))
        facts.append(Fact(*common, bits, "prefill", prompt_tokens, float(prefill), terms))
    if decode:
        terms = decode_terms(load, rates, prompt_tokens + new_tokens / 2, grouped=habits["grouped"])
        facts.append(Fact(*common, bits, "decode", 1, float(decode), terms))
    return facts


def rates_of(profile: HardwareProfile) -> Rates:
    """A profile's limits; both must be stated."""
    bandwidth, compute = profile.bandwidth_gb_per_s.value, profile.fp16_tflops.value
    assert bandwidth and compute  # the profiles of published measurements state them
    return Rates(bandwidth * 1e9, compute * 1e12)


def load_of(model: dict[str, Any], weights: str) -> Load:
    """Bytes and weights per token of a model of the file in a format."""
    tied = model.get("tied", False)
    shape = ModelShape(**{key: value for key, value in model.items() if key != "tied"}, context=1 << 17)
    body, table = body_weights(shape), shape.vocab * shape.hidden
    block_bits, head_bits, table_bits = _BITS[weights]
    read = body * block_bits + table * (table_bits if tied else head_bits)
    if weights == "q4_k_m":
        widened = shape.layers * shape.hidden * (shape.ffn + shape.kv_heads * shape.head_dim) / 2
        read += widened * _Q6_K_MORE
    return Load(shape, read / 8, body)


def body_weights(shape: ModelShape, mlp_matrices: int = 3) -> int:
    """Weights of the blocks' matrices; 3 in a gated MLP, 2 in a plain one."""
    attention = 2 * shape.hidden * shape.head_dim * (shape.heads + shape.kv_heads)
    return shape.layers * (attention + mlp_matrices * shape.hidden * shape.ffn)
