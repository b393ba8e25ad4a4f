"""The shape of a model, read from its config: what memory and speed depend on.

The names differ between architectures (GPT-2's ``n_embd`` is llama's ``hidden_size``); this is the one place
that knows both families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import CheckpointError

# Beyond these a number is a slip: the largest known models have 126 layers and contexts of 10 million tokens.
MOST_LAYERS, MOST = 1024, 1 << 24
# Key-value heads where a config lacks the key and transformers' default is a number of its own.
_KV_HEADS = {"mistral": 8}


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only transformer.

    Attributes:
        layers: transformer blocks.
        hidden: width of the residual stream.
        heads: query heads.
        kv_heads: key/value heads; 1 is multi-query attention (Shazeer 2019, arXiv 1911.02150).
        head_dim: width of one head.
        ffn: inner width of the MLP.
        vocab: rows of the embedding.
        context: most tokens the model was built for.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int

    def kv_cache_bytes(self, tokens: int, element_bytes: int = 2) -> int:
        """Bytes of keys and values of one sequence of ``tokens`` tokens (fp16 by default)."""
        return 2 * self.layers * self.kv_heads * self.head_dim * element_bytes * tokens


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """Read the shape from a transformers config.

    Raises:
        CheckpointError: a needed size is missing or makes no sense; the message names it.
    """
    if "n_embd" in config:
        return _gpt_shape(config)
    heads, hidden = _need(config, "num_attention_heads"), _need(config, "hidden_size")
    kv_heads = _key_value_heads(config, heads)
    if heads % kv_heads:
        raise CheckpointError(
            f"the model's config.json has {heads} attention heads and {kv_heads} for keys and values, which do not "
            "divide them; correct it"
        )
    return ModelShape(
        layers=_need(config, "num_hidden_layers", MOST_LAYERS),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_optional(config, "head_dim") or _share(hidden, heads),
        ffn=_need(config, "intermediate_size"),
        vocab=_need(config, "vocab_size"),
        context=_need(config, "max_position_embeddings"),
    )


def _gpt_shape(config: Mapping[str, Any]) -> ModelShape:
    heads, hidden = _need(config, "n_head"), _need(config, "n_embd")
    return ModelShape(
        layers=_need(config, "n_layer", MOST_LAYERS),
        hidden=hidden,
        heads=heads,
        kv_heads=1 if config.get("multi_query", True) else heads,
        head_dim=_share(hidden, heads),
        ffn=_optional(config, "n_inner") or 4 * hidden,
        vocab=_need(config, "vocab_size"),
        context=_need(config, "n_positions"),
    )


def _key_value_heads(config: Mapping[str, Any], heads: int) -> int:
    """As many as query heads where the config says null, or nothing and the architecture has no number of its own."""
    if "num_key_value_heads" not in config:
        return _KV_HEADS.get(str(config.get("model_type")), heads)
    return _optional(config, "num_key_value_heads") or heads


def _share(hidden: int, heads: int) -> int:
    """Width of a head where the config does not name it."""
    if hidden % heads:
        raise CheckpointError(
            f"the model's config.json has a width of {hidden}, which its {heads} heads do not divide; correct it"
        )
    return hidden // heads


def _optional(config: Mapping[str, Any], key: str) -> int | None:
    """A size that may be left out or null."""
    return None if config.get(key) is None else _need(config, key)


def _need(config: Mapping[str, Any], key: str, most: int = MOST) -> int:
    value = config.get(key)
    if type(value) is not int or not 0 < value <= most:
        raise CheckpointError(f"the model's config.json has no usable {key!r} (found {_brief(value)}); correct it")
    return value


def _brief(value: Any) -> str:
    """A value as it may stand in a sentence; a huge number is not spelled out."""
    if type(value) is int and abs(value) > MOST * MOST:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
