"""The shape of a model, read from its config: what memory and speed depend on.

The names differ between architectures (GPT-2's ``n_embd`` is llama's ``hidden_size``); this is the one place
that knows both families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.errors import CheckpointError


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


def model_shape(config: dict[str, Any]) -> ModelShape:
    """Read the shape from a transformers config.

    Raises:
        CheckpointError: a needed size is missing; the message names it.
    """
    if "n_embd" in config:
        return _gpt_shape(config)
    heads = _need(config, "num_attention_heads")
    hidden = _need(config, "hidden_size")
    return ModelShape(
        layers=_need(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        ffn=_need(config, "intermediate_size"),
        vocab=_need(config, "vocab_size"),
        context=_need(config, "max_position_embeddings"),
    )


def _gpt_shape(config: dict[str, Any]) -> ModelShape:
    heads, hidden = _need(config, "n_head"), _need(config, "n_embd")
    return ModelShape(
        layers=_need(config, "n_layer"),
        hidden=hidden,
        heads=heads,
        kv_heads=1 if config.get("multi_query", True) else heads,
        head_dim=hidden // heads,
        ffn=config.get("n_inner") or 4 * hidden,
        vocab=_need(config, "vocab_size"),
        context=_need(config, "n_positions"),
    )


def _need(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value <= 0:
        raise CheckpointError(f"the model's config.json has no usable {key!r} (found {value!r}); correct it")
    return value
