"""What an engine holds in memory beside the weights of the file, as facts rather than branches.

Engines differ in what they make of a file's weights (float32 copies, repacked ones), in how their key-value cache
grows, and in what is alive while a prompt is read. Each states that as ``MemoryFacts`` by backend, with where the
figures come from; ``workbench/memory.py`` makes a prediction of them.

    MemoryFacts(60 << 20, "resident sets on Linux", held={"": Held(file=1.0)}, block=512)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Held:
    """How an engine holds the weights of one format, in bytes; the parts are added up.

    Attributes:
        file: of the engine's memory for each byte of the weight files: 1 where they are kept, or mapped, as they are.
        linear: for each weight of the matrices inside blocks, beside that: 4 where they become float32.
        head: for each weight of the output matrix, be it the embedding's or its own.
        embedding: for each weight of a token embedding that is not the head.
        other: for each position, norm and bias.
        repacked: for each weight of the matrices, of a copy in another order; the first one is then not read again.
        loading: for each byte of the weight files while they are read, given back when all is loaded.
        layers: float copies of the widest matrix alive while a quantized one is used.
    """

    file: float = 0.0
    linear: float = 0.0
    head: float = 0.0
    embedding: float = 0.0
    other: float = 0.0
    repacked: float = 0.0
    loading: float = 0.0
    layers: float = 0.0


@dataclass(frozen=True)
class MemoryFacts:
    """What an engine holds in memory on one backend; ``workbench/memory.py`` makes a prediction of it.

    Attributes:
        overhead_bytes: of the engine itself: libraries, interpreter, CUDA context, workspaces, allocator.
        source: where the figures come from.
        held: how weights are held, by format or ``format/variant`` (the value of its option ``type``, ``weights`` or
            ``bits``); ``""`` for all others, which are kept as in the file where nothing is said.
        cache_bytes: of one element of the key-value cache.
        cache_step: tokens by which the cache grows.
        cache_growth: bytes of a block of the cache up to which the old and the grown one of every layer lie side by
            side: those that pass through the allocator's heap; -1: of any size; 0: they do not.
        beam_cache: what a further beam adds to the cache: ``nothing`` (beams take turns), its ``answer`` alone, or the
            ``prompt`` too.
        element_bytes: of one activation.
        inner_rows: copies of the MLP's inner activations alive at a time: with a gate, and without.
        block: tokens of a prompt that are computed at a time; ``None``: all.
        scores: matrices of attention scores (query heads x tokens x tokens) alive at a time; 0 with fused attention.
        logits: rows of logits that a prompt leaves: of ``all`` tokens computed at a time, or of the ``last`` one.
        logit_copies: of these.
        mask: whether a StarCoder's causal mask is kept, a byte for each pair of tokens of the model's context.
        one_buffer: whether logits are made where the block's activations were.
    """

    overhead_bytes: int
    source: str
    held: Mapping[str, Held] = field(default_factory=dict)
    cache_bytes: int = 2
    cache_step: int = 1
    cache_growth: int = 0
    beam_cache: Literal["nothing", "answer", "prompt"] = "prompt"
    element_bytes: int = 2
    inner_rows: tuple[float, float] = (3.0, 2.0)
    block: int | None = None
    scores: float = 0.0
    logits: Literal["all", "last"] = "last"
    logit_copies: int = 1
    mask: bool = False
    one_buffer: bool = False


# An engine that states nothing for a backend is taken for a middling one.
FALLBACK_MEMORY = MemoryFacts(1 << 30, "an assumption: weights as in the file, and 1 GiB")
