"""Greedy answers and exact matches while sqlcoder-nano trains.

The schema of a database is read once and its keys and values are copied to every question's row;
the rows then go forward together, one token at a time, until each has written ``<|endoftext|>``.
Rows have different lengths, so each writes its keys at its own next place and looks at the places
up to its own: what padding left behind further right is overwritten before it can be seen.

An exact match is a string comparison with the gold SQL. It costs no database and is stricter than
execution accuracy (``workbench/evals``), which also accepts other ways to the same rows.

Example::

    scores = exact_match(network, tokenizer, load_question_set(DATA_DIR / "heldout.csv"))
    scores["easy"]        # {"correct": 31, "total": 40}
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.nano.packing import first_gold, prefix_text, prompt_text
from workbench.nano.tokenizer import END_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from workbench.nano.network import Network
    from workbench.questions import Question

Cache = list[tuple[Tensor, Tensor]]
Scores = dict[str, dict[str, int]]


def advance(network: Network, tokens: Tensor, places: Tensor, cache: Cache) -> Tensor:
    """Read tokens into the cache.

    Args:
        network: the model.
        tokens: ``[rows, new]``.
        places: ``[rows, new]`` their positions, also their places in the cache.
        cache: per layer keys and values, each ``[rows, room, size]``; written to.

    Returns:
        last hidden states, ``[rows, new, width]``.
    """
    body = network.transformer
    hidden = body.embed(tokens, places)
    row = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    room = int(places.max()) + 1
    seen = torch.arange(room, device=tokens.device) <= places.unsqueeze(-1)
    for block, (keys, values) in zip(body.blocks(), cache, strict=True):
        query, key, value = block.attn.split(block.ln_1(hidden))
        keys[row, places], values[row, places] = key, value
        scores = torch.einsum("rnhd,rkd->rhnk", query / math.sqrt(block.attn.size), keys[:, :room])
        weights = scores.masked_fill(~seen.unsqueeze(1), -torch.inf).softmax(-1)
        mixed = torch.einsum("rhnk,rkd->rnhd", weights, values[:, :room]).flatten(2)
        hidden = hidden + block.attn.c_proj(mixed)
        hidden = hidden + block.mlp(block.ln_2(hidden))
    return body.norm(hidden)


@torch.no_grad()
def answer(
    network: Network, prefix: Sequence[int], prompts: Sequence[Sequence[int]], limit: int = 120
) -> list[list[int]]:
    """Greedy answers to prompts that share a prefix.

    Args:
        network: the model, computed in its own precision.
        prefix: tokens of the schema part.
        prompts: tokens of the rest of each prompt.
        limit: most new tokens.

    Returns:
        new tokens per prompt, without ``<|endoftext|>``.
    """
    device = network.device
    size, rows = network.shape.width // network.shape.heads, len(prompts)
    room = min(len(prefix) + max(map(len, prompts)) + limit, network.shape.positions)
    empty = torch.zeros(1, room, size, device=device)
    cache: Cache = [(empty.clone(), empty.clone()) for _ in range(network.shape.layers)]
    advance(network, torch.tensor([prefix], device=device), torch.arange(len(prefix), device=device)[None], cache)
    cache = [(keys.repeat(rows, 1, 1), values.repeat(rows, 1, 1)) for keys, values in cache]

    padded = torch.full((rows, max(map(len, prompts))), END_ID)
    for number, prompt in enumerate(prompts):
        padded[number, : len(prompt)] = torch.tensor(prompt)
    padded = padded.to(device)
    places = (len(prefix) + torch.arange(padded.shape[1], device=device)).expand_as(padded)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    hidden = advance(network, padded, places, cache)[torch.arange(rows, device=device), lengths - 1]
    place = len(prefix) + lengths
    written, done = [], torch.zeros(rows, dtype=torch.bool, device=device)
    while True:
        token = network.logits(hidden).argmax(-1).masked_fill(done, END_ID)
        done |= token == END_ID
        written.append(token)
        if bool(done.all()) or len(written) == limit or int(place.max()) + 1 >= room:
            break
        hidden = advance(network, token[:, None], place[:, None], cache)[:, 0]
        place = place + (~done).long()
    return [[t for t in row if t != END_ID] for row in torch.stack(written, 1).tolist()]


def exact_match(
    network: Network, tokenizer: Tokenizer, schemas: Mapping[str, str], questions: Iterable[Question]
) -> Scores:
    """Exact matches per hardness and under ``all``, as ``{"correct": n, "total": n}``."""
    by_database = defaultdict(list)
    for question in questions:
        by_database[question.db_name].append(question)
    scores: Scores = defaultdict(lambda: {"correct": 0, "total": 0})
    for name, group in sorted(by_database.items()):
        prefix = tokenizer.encode(prefix_text(schemas[name])).ids
        prompts = [tokenizer.encode(prompt_text(question.question)).ids for question in group]
        for question, tokens in zip(group, answer(network, prefix, prompts), strict=True):
            text = tokenizer.decode(tokens).split("```")[0].strip()
            for key in (question.hardness or "unknown", "all"):
                scores[key]["correct"] += text == first_gold(question.query)
                scores[key]["total"] += 1
    return dict(scores)
