"""Which kind of value each setting of a transformers config must have.

A config is written by hand more often than one thinks, and copied from models of other kinds. A word where a number
belongs would only show deep inside a conversion, as an error of Python's. So the settings that are read anywhere here
are checked once, when the config is read: by kind, not by meaning, and only where they stand. Sizes are checked where
they are used (``workbench/shape.py``), together with how they must fit each other.

Example::

    check_values({"rms_norm_eps": "small"}, "config.json")  # CheckpointError
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import CheckpointError

MOST = 3.4e38  # float32's largest number, which every file format here can hold


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes:
        name: in a sentence.
        fits: whether a value is of it.
        keys: of the settings that must be.
        rope_keys: the same inside ``rope_scaling`` and ``rope_parameters``.
    """

    name: str
    fits: Callable[[Any], bool]
    keys: tuple[str, ...]
    rope_keys: tuple[str, ...] = ()


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MOST  # NaN is not


def _is_word(value: Any) -> bool:
    return type(value) is str and len(value) <= 1000


KINDS = (
    Kind(
        "a number",
        _is_number,
        ("layer_norm_epsilon", "rms_norm_eps", "rope_theta"),
        ("factor", "low_freq_factor", "high_freq_factor", "rope_theta", "partial_rotary_factor"),
    ),
    Kind(
        "a word",
        _is_word,
        ("model_type", "activation_function", "hidden_act", "torch_dtype", "dtype"),
        ("rope_type", "type"),
    ),
    Kind(
        "true or false",
        lambda value: type(value) is bool,
        (
            "multi_query",
            "tie_word_embeddings",
            "attention_bias",
            "mlp_bias",
            "scale_attn_weights",
            "add_cross_attention",
        ),
    ),
    Kind(
        "a positive whole number",
        lambda value: type(value) is int and 0 < value <= MOST,
        ("sliding_window", "original_max_position_embeddings"),
        ("original_max_position_embeddings",),
    ),
    Kind(
        "an object or null",
        lambda value: type(value) is dict,
        ("rope_scaling", "rope_parameters", "quantization_config"),
    ),
)
# What transformers itself writes as null where it means "none" or "the default".
_NULLABLE = frozenset(
    {"rope_theta", "rope_scaling", "rope_parameters", "quantization_config", "sliding_window", "torch_dtype", "dtype"}
)
_WITH_FACTOR = ("linear", "llama3")  # kinds of rotary embedding that are nothing without one


def check_values(config: Mapping[str, Any], where: object) -> None:
    """Refuse a config with a value of the wrong kind.

    Args:
        config: of any architecture.
        where: the file, for the message.

    Raises:
        CheckpointError: naming the first such setting.
    """
    for kind in KINDS:
        _check(config, kind, kind.keys, f"{where} has")
    for parent in ("rope_scaling", "rope_parameters"):
        rope = config.get(parent) or {}
        for kind in KINDS:
            _check(rope, kind, kind.rope_keys, f"{where} has, under {parent},")
        if rope.get("rope_type", rope.get("type")) in _WITH_FACTOR and "factor" not in rope:
            raise CheckpointError(f"{where} stretches positions but names no factor under {parent}; correct it")


def _check(values: Mapping[str, Any], kind: Kind, keys: tuple[str, ...], start: str) -> None:
    for key in keys:
        missing = key not in values or (values[key] is None and key in _NULLABLE)
        if not missing and not kind.fits(values[key]):
            found = str(values[key])
            shown = found if len(found) <= 60 else f"{found[:60]}..."
            raise CheckpointError(f"{start} {key} {shown!r} where {kind.name} belongs; correct it")
