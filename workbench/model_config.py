"""A checkpoint's ``config.json``, read and brought to a form that plain transformers opens.

Some repositories bring their own Python code (``auto_map``) for a model that transformers knows under another name.
DeciCoder is one: its modelling file is Llama with grouped-query attention and a choice of attention kernels
(huggingface.co/Deci/DeciCoder-1b; its tensors bear Llama's names). Here, and nowhere else, such a config takes its
real name and loses what only the foreign code reads, so that every format writes a model that opens with
``trust_remote_code`` off. All other keys stay as they are: ``head_dim``, ``rope_scaling``, ``attention_bias``,
``sliding_window`` belong to the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.config_values import check_values
from workbench.errors import CheckpointError


@dataclass(frozen=True)
class KnownAs:
    """What a class of foreign code is in transformers.

    Attributes:
        model_type: transformers' name of the architecture.
        model_class: transformers' class.
        own_keys: config keys that only the foreign code reads.
    """

    model_type: str
    model_class: str
    own_keys: tuple[str, ...] = ()


KNOWN_AS = {
    "DeciCoderForCausalLM": KnownAs(
        "llama",
        "LlamaForCausalLM",
        ("naive_attention_prefill", "naive_attention_decode_batched", "naive_attention_decode_single"),
    ),
    # Foreign code for these is an older copy of what is now in transformers.
    "GPTBigCodeForCausalLM": KnownAs("gpt_bigcode", "GPTBigCodeForCausalLM"),
    "LlamaForCausalLM": KnownAs("llama", "LlamaForCausalLM"),
    "MistralForCausalLM": KnownAs("mistral", "MistralForCausalLM"),
}
_CODE_KEYS = ("auto_map", "custom_pipelines")
_CONTEXT_KEYS = ("n_positions", "max_position_embeddings")


def read_config(path: Path) -> dict[str, Any]:
    """The config of a checkpoint, normalized.

    Args:
        path: the ``config.json``.

    Raises:
        CheckpointError: it is not there, is no transformers config, has a setting of the wrong kind, or describes a
            model that only its own code can run.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no config.json; give --model a folder in Hugging Face layout")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch the checkpoint again") from error
    config = normalized(config, path) if isinstance(config, dict) else {}
    if not isinstance(config.get("model_type"), str):
        raise CheckpointError(f"{path} names no model_type; it is not a transformers config")
    check_values(config, path)
    return config


def normalized(config: dict[str, Any], where: object) -> dict[str, Any]:
    """The config under the name transformers has for the model, without references to foreign code.

    Raises:
        CheckpointError: it needs code of its own, of a class that is not known here.
    """
    classes = config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes else None
    known = KNOWN_AS.get(name) if isinstance(name, str) else None
    if known is None and name is not None and _brings_code(config):
        raise CheckpointError(
            f"{where} describes a {name}, which only the Python code in its repository can run; give a model of an "
            "architecture that transformers knows"
        )
    if known is None or name == known.model_class:
        return {key: value for key, value in config.items() if key not in _CODE_KEYS}
    dropped = {*_CODE_KEYS, *known.own_keys}
    renamed = {"model_type": known.model_type, "architectures": [known.model_class]}
    return {key: value for key, value in config.items() if key not in dropped} | renamed


def _brings_code(config: dict[str, Any]) -> bool:
    """Whether the model class itself is foreign (a foreign tokenizer or config class is no obstacle)."""
    classes = config.get("auto_map")
    return isinstance(classes, dict) and "AutoModelForCausalLM" in classes


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the head uses the embedding's weights; where the config does not say, by its architecture."""
    return bool(config.get("tie_word_embeddings", config.get("model_type") == "gpt_bigcode"))


def context_length(config: dict[str, Any], where: object) -> int:
    """Most tokens a model was built for; a sliding attention window does not shorten it.

    Raises:
        CheckpointError: the config does not say.
    """
    for key in _CONTEXT_KEYS:
        value = config.get(key)
        if type(value) is int and value > 0:
            return value
    raise CheckpointError(f"{where} names no context length ({' or '.join(_CONTEXT_KEYS)}); add it")


def rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary embedding's settings, in old configs (``rope_theta``, ``rope_scaling``) and new (``rope_parameters``).

    Keys as in transformers 5: ``rope_type`` (``default``, ``linear``, ``llama3``), ``rope_theta``, ``factor`` ...
    """
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_type", rope.get("type") or "default")
    if config.get("rope_theta") is not None:
        rope.setdefault("rope_theta", config["rope_theta"])
    return rope
