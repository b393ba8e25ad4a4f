"""Beam search over a batch of prompts with transformers' forward pass.

The prompts of a group are read as for greedy decoding (``_decode.py``), each once; then every prompt has as many
rows in the batch as it has open answers. Which of them go on, ``_beams.py`` decides; a step's rows of the
cache are copied from the rows they go on from. What prompts share at their start is kept once for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.runtimes._beams import BeamSearch

if TYPE_CHECKING:
    from workbench.runtimes._decode import Decoder


def search_batch(
    decoder: Decoder, prefix: int, rows: Sequence[list[int]], limits: Sequence[int], beams: int
) -> list[list[int]]:
    """Tokens of the best answer to each prompt.

    Args:
        decoder: the model.
        prefix: tokens all prompts start with.
        rows: the prompts' token ids.
        limits: most new tokens of each.
        beams: answers followed for each.
    """
    import torch

    stops = decoder.stops
    searches = [BeamSearch(beams, stops.ended, limit, len(stops.ends)) for limit in limits]
    cache, logits = decoder.prefill(prefix, rows, max(limits))
    device = logits.device
    positions = torch.tensor([len(row) for row in rows], device=device)
    active, keep = searches, min(searches[0].keep, logits.shape[-1])
    while True:
        logprobs, ids = (part.cpu().numpy() for part in logits.float().log_softmax(-1).topk(keep))
        sources: list[int] = []  # row of the batch each new row goes on from
        first = 0
        for search in active:
            end = first + len(search.open)
            sources += [first + parent for parent in search.advance(logprobs[first:end], ids[first:end])]
            first = end
        if not sources:
            return [search.best for search in searches]
        active = [search for search in active if search.open]
        cache.keep(torch.tensor(sources, device=device))
        positions = positions[sources]
        tokens = torch.tensor([[beam.tokens[-1]] for search in active for beam in search.open], device=device)
        logits = decoder.forward(cache, tokens, positions[:, None])
        positions = positions + 1
