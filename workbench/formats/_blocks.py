"""Feed calibration texts through a model block by block, and see what each linear layer reads.

Texts are padded on the right: attention is causal, so no real token ever sees padding and no mask is
needed; padding is left out where inputs are counted. A block's inputs stay in memory while its layers are
quantized one step after another; then the block, now quantized, computes the inputs of the next, so each
layer is fitted to what it will really be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_TOKENS = 8192


class _Reached(Exception):
    """Ends a forward pass at the module whose input was wanted; never leaves this module."""


@dataclass
class Batch:
    """Texts of similar length on their way through the model.

    Attributes:
        hidden: inputs of the current block, ``[rows, tokens, width]``.
        real: which of them are not padding, ``[rows, tokens]``.
        keywords: what the model hands every block beside them (positions, rotary tables).
    """

    hidden: Tensor
    real: Tensor
    keywords: dict[str, Any]


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], samples: int, most_tokens: int
) -> list[list[int]]:
    """Token ids of at most ``samples`` texts, taken at even distances, each cut to ``most_tokens``."""
    count = min(samples, len(texts))
    chosen = [texts[place * len(texts) // count] for place in range(count)]
    encoded = (tokenizer.encode(text)[:most_tokens] for text in chosen)
    return [ids for ids in encoded if ids]


def first_batches(model: PreTrainedModel, first_block: nn.Module, sequences: Sequence[list[int]]) -> list[Batch]:
    """What the first block is given for each batch of sequences."""
    import torch

    batches = []
    for rows in _similar(sequences):
        width = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        real = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
        arguments, keywords = _input_of(first_block, lambda ids=ids: model(input_ids=ids, use_cache=False))  # type: ignore[misc]
        batches.append(Batch(arguments[0], real, keywords))
    return batches


def layer_inputs(block: nn.Module, layer: nn.Module, batch: Batch) -> Tensor:
    """What one linear layer of a block reads, ``[real tokens, in]``; computed no further than there."""
    arguments, _ = _input_of(layer, lambda: block(batch.hidden, **batch.keywords))
    inputs: Tensor = arguments[0][batch.real]
    return inputs


def advance(block: nn.Module, batch: Batch) -> None:
    """Replace a block's inputs by its outputs."""
    output = block(batch.hidden, **batch.keywords)
    batch.hidden = output[0] if isinstance(output, tuple) else output


def _similar(sequences: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Sequences in batches of similar length, at most ``BATCH_TOKENS`` each with padding."""
    waiting = sorted(sequences, key=len, reverse=True)
    while waiting:
        rows = max(1, BATCH_TOKENS // len(waiting[0]))
        yield waiting[:rows]
        waiting = waiting[rows:]


def _input_of(module: nn.Module, forward: Callable[[], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments a module is called with during a forward pass, which ends there."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def note(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        seen.append((arguments, keywords))
        raise _Reached

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        forward()
    except _Reached:
        pass
    finally:
        handle.remove()
    return seen[0]
