"""The ``config.json`` that mlx-lm needs, and the models it would compute wrongly.

mlx-lm builds a model from the config's top level and takes its own defaults for what is missing there, some other than
transformers'. Three configs that transformers reads well make it fail or, worse, answer wrongly in silence (0.32.2):

- ``n_inner: null`` of gpt_bigcode stands for four times the width; mlx-lm wants the number.
- transformers 5 writes the rotary settings under ``rope_parameters``; mlx-lm reads ``rope_theta`` and
  ``rope_scaling`` only, and computes with a theta of 10000 where it finds none.
- llama without ``tie_word_embeddings`` has a head of its own; mlx-lm then drops it and uses the embeddings.

So these are written out. What no config can mend is refused, but for mistral's sliding window: mlx-lm attends to all
tokens, which is the same up to the window's length, and the workbench's engine lets no context be longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.model_config import rope_parameters

HEAD = "lm_head.weight"
TANH_GELU = frozenset({"gelu_pytorch_tanh", "gelu_new", "gelu_fast"})
EXACT_GELU = frozenset({"gelu", "gelu_python"})
ROPE_TYPES = frozenset({"default", "linear", "llama3"})

# What transformers assumes where a config is silent, and mlx-lm does not.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gpt_bigcode": {
        "tie_word_embeddings": True,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_pytorch_tanh",
    },
    "llama": {"tie_word_embeddings": False, "rms_norm_eps": 1e-6},
    "mistral": {"tie_word_embeddings": False, "rms_norm_eps": 1e-6, "num_key_value_heads": 8},
}
# Settings that mlx-lm takes for granted: key, the values it computes, why others are refused.
_FIXED: Mapping[str, tuple[tuple[str, frozenset[Any], str], ...]] = {
    "gpt_bigcode": (
        ("multi_query", frozenset({True}), "it reads the weights of several key and value heads in another order"),
        ("scale_attn_weights", frozenset({True}), "it always scales attention scores"),
        ("add_cross_attention", frozenset({False}), "it has no cross-attention"),
        ("activation_function", TANH_GELU | EXACT_GELU, "it knows GELU only"),
    ),
    "llama": (("hidden_act", frozenset({"silu"}), "it knows SiLU only"),),
    "mistral": (("hidden_act", frozenset({"silu"}), "it knows SiLU only"),),
}


def mlx_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint's config with everything mlx-lm wants at its top level.

    Raises:
        CheckpointError: mlx-lm would compute another function than the model's.
    """
    architecture = checkpoint.architecture
    config = {**_DEFAULTS[architecture], **checkpoint.config}
    for key, values, why in _FIXED[architecture]:
        if key in config and config[key] not in values:
            raise CheckpointError(
                f"mlx-lm cannot run {checkpoint.path} with {key}: {config[key]} ({why}); choose a GGUF recipe"
            )
    if architecture == "gpt_bigcode":
        config["n_inner"] = config.get("n_inner") or 4 * int(config["n_embd"])
    else:
        config.update(_rope(checkpoint))
        config.pop("layer_types", None)  # mlx-lm fails where all layers have a window
    return config


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the head is the embeddings, by a config that ``mlx_config`` has completed."""
    return bool(config["tie_word_embeddings"])


def wants_tanh_gelu(config: Mapping[str, Any]) -> bool:
    """Whether a model was trained with the tanh form of GELU, which mlx-lm's gpt_bigcode does not compute."""
    return config["model_type"] == "gpt_bigcode" and config["activation_function"] in TANH_GELU


def _rope(checkpoint: Checkpoint) -> dict[str, Any]:
    """Rotary settings as mlx-lm reads them, from either place where transformers writes them."""
    settings = rope_parameters(checkpoint.config)
    kind = settings.pop("rope_type")
    if kind not in ROPE_TYPES:
        raise CheckpointError(
            f"{checkpoint.path} stretches its positions by {kind!r}, for which mlx-lm and transformers differ; "
            f"{', '.join(sorted(ROPE_TYPES))} can be converted; choose a GGUF recipe"
        )
    theta = settings.pop("rope_theta", None) or 10000.0
    settings.pop("type", None)
    return {"rope_theta": theta, "rope_scaling": None if kind == "default" else {"rope_type": kind, **settings}}
