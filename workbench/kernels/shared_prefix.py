"""Attention over a prefix that all rows of a batch share and a part of each row's own.

Questions about one database start with the same schema. Its keys and values are computed once and kept
once; scores against them are one large matrix product for all rows, scores against a row's own tokens a
small one per row, and one softmax over both makes the result exact (Juravsky et al. 2024, "Hydragen",
arXiv 2402.05099). Beside a cache expanded over the batch this reads the prefix once per step instead of
once per row and head. With grouped or multi-query heads the query heads of a group are further query rows, so
keys are never repeated.

The function plugs into transformers' attention interface (huggingface.co/docs/transformers/attention_interface);
the ``SharedPrefixCache`` reaches it as a keyword of the model's forward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NAME = "workbench_shared_prefix"


class SharedPrefixCache:
    """Keys and values of one batch: first fed the prefix, then all rows' own tokens, then step by step.

    Args:
        own_tokens: most tokens a row can have of its own, padding included.
        pads: left padding of each row's own part, ``[rows]``.
    """

    def __init__(self, own_tokens: int, pads: Tensor) -> None:
        self._capacity = own_tokens
        self._prefix: dict[int, tuple[Tensor, Tensor]] = {}  # layer: [kv_heads, prefix, size] each
        self._own: dict[int, tuple[Tensor, Tensor]] = {}  # layer: [rows, kv_heads, capacity, size] each
        self._visible = torch.arange(own_tokens, device=pads.device) >= pads[:, None]
        self._length = 0
        self.in_prefix = True

    def advance(self, tokens: int) -> None:
        """Count tokens that all layers have now seen."""
        self._length += tokens

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these (indices, in their new order; a row named twice becomes two)."""
        self._visible = self._visible[rows]
        for layer, (keys, values) in self._own.items():  # one after the other, so that only one layer is held twice
            self._own[layer] = (keys[rows], values[rows])

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Store new keys and values and attend to all of them.

        Args:
            layer: index of the layer.
            query: ``[rows, heads, new, size]``.
            key: ``[rows, kv_heads, new, size]``; so is ``value``.
            value: see ``key``.
            scaling: factor of the scores.

        Returns:
            ``[rows, new, heads, size]``.
        """
        if self.in_prefix:
            self._prefix[layer] = (key[0], value[0])
            out = functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=scaling, enable_gqa=True
            )
            return out.transpose(1, 2).contiguous()
        keys, values = self._append(layer, key, value)
        return self._attend_both(query * scaling, self._prefix.get(layer), keys, values)

    def _append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values into the layer's buffers; the filled part of these."""
        if layer not in self._own:
            rows, heads, _, size = key.shape
            self._own[layer] = (
                key.new_zeros(rows, heads, self._capacity, size),
                value.new_zeros(rows, heads, self._capacity, size),
            )
        end = self._length + key.shape[2]
        keys, values = self._own[layer]
        keys[:, :, self._length : end] = key
        values[:, :, self._length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def _attend_both(self, query: Tensor, prefix: tuple[Tensor, Tensor] | None, keys: Tensor, values: Tensor) -> Tensor:
        rows, heads, new, size = query.shape
        kv_heads = keys.shape[1]
        per_row = heads // kv_heads * new
        grouped = query.reshape(rows, kv_heads, per_row, size)
        scores = self._mask(grouped @ keys.transpose(-1, -2), new)
        if prefix is None:
            out = scores.float().softmax(-1).to(values.dtype) @ values
        else:
            flat = grouped.transpose(0, 1).reshape(kv_heads, rows * per_row, size)
            far = (flat @ prefix[0].transpose(-1, -2)).view(kv_heads, rows, per_row, -1).transpose(0, 1)
            weights = torch.cat([far, scores], dim=-1).float().softmax(-1).to(values.dtype)
            shared = prefix[0].shape[1]
            from_far = weights[..., :shared].transpose(0, 1).reshape(kv_heads, rows * per_row, shared) @ prefix[1]
            out = weights[..., shared:] @ values
            out += from_far.view(kv_heads, rows, per_row, size).transpose(0, 1)
        return out.view(rows, heads, new, size).transpose(1, 2).contiguous()

    def _mask(self, scores: Tensor, new: int) -> Tensor:
        """Hide padding and, among several new tokens, the later ones; scores ``[rows, kv_heads, per_row, seen]``."""
        seen = scores.shape[-1]
        visible = self._visible[:, None, None, None, :seen]
        if new > 1:
            visible = visible & torch.ones(new, seen, dtype=torch.bool, device=scores.device).tril(seen - new)
        # The finite minimum, not -inf: a padding token that sees nothing must not become NaN.
        by_token = scores.view(*scores.shape[:2], -1, new, seen)
        return by_token.masked_fill(~visible, torch.finfo(scores.dtype).min).view_as(scores)


def attention(  # noqa: PLR0913 - transformers' signature
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    shared_prefix: SharedPrefixCache,
    **_: Any,
) -> tuple[Tensor, None]:
    """The function transformers calls in every layer."""
    layer = module.layer_idx
    assert isinstance(layer, int)  # a plain attribute that torch's typing takes for a tensor
    return shared_prefix.attend(layer, query, key, value, scaling), None


def register() -> None:
    """Make ``NAME`` an attention implementation of transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
