"""Memory of a served model: weights as the engine holds them, key-value cache, activations, and the engine itself.

Peak memory is the sum of four parts, each a figure of its own:

- weights: the file's bytes, wider where the engine computes in another type (float16 becomes float32 on a CPU), more
  where it keeps a repacked copy;
- cache: 2 x layers x kv heads x head width x bytes of an element, for each token of each sequence;
- activations: what the widest place of a block keeps alive for the tokens computed at a time, attention scores where
  the engine writes them out, and the logits;
- overhead: libraries, the CUDA context, workspaces.

What differs between engines are facts (``MemoryFacts`` in ``workbench/runtimes/base.py``), not branches. The largest
context and batch are found on the same formula, which grows with both.

Example::

    model = memory_model(weigh(checkpoint), recipe, file_bytes, facts=get_runtime("llama_cpp").memory["cpu"])
    model.parts(context=4096, batch=1, beams=4).peak_memory_bytes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.architecture import MODULES
from workbench.artifact import Manifest
from workbench.checkpoint import Checkpoint
from workbench.memory_facts import Held, MemoryFacts
from workbench.recipe import Recipe
from workbench.search import largest
from workbench.shape import ModelShape, model_shape
from workbench.workload import MOST_BATCH

_VARIANTS = ("type", "weights", "bits")  # options that say how a format stores the matrices
_LOGIT_BYTES = 4  # every engine makes float32 of them


@dataclass(frozen=True)
class Weights:
    """A model's weights by what engines do with them.

    Attributes:
        shape: of the model.
        linear: weights of the matrices inside blocks, which formats quantize.
        embedding: weights of the token embedding.
        head: weights of a head of its own; 0 where it is the embedding.
        other: positions, norms and biases.
        widest: weights of the largest matrix inside a block.
        mask: bytes of a StarCoder's causal mask, for engines that keep it.
        gated: whether the MLP has a gate (SwiGLU), which keeps one more activation alive.
    """

    shape: ModelShape
    linear: int
    embedding: int
    head: int
    other: int
    widest: int
    mask: int
    gated: bool

    @property
    def total(self) -> int:
        """All weights, a tied head counted once."""
        return self.linear + self.embedding + self.head + self.other


def weigh(checkpoint: Checkpoint) -> Weights:
    """A checkpoint's weights, from its tensor headers."""
    modules = MODULES.get(checkpoint.architecture)
    embedding_name = f"{modules.embedding}.weight" if modules else "model.embed_tokens.weight"
    head_name = f"{modules.head}.weight" if modules else "lm_head.weight"
    sizes = {name: info.numel for name, info in checkpoint.tensors.items()}
    embedding, head = sizes.get(embedding_name, 0), sizes.get(head_name, 0)
    blocks = f"{modules.blocks}." if modules else ""
    linears = [
        info.numel for name, info in checkpoint.tensors.items() if len(info.shape) == 2 and name.startswith(blocks)
    ]
    return Weights(
        shape=model_shape(checkpoint.config),
        linear=sum(linears),
        embedding=embedding,
        head=head,
        other=checkpoint.parameters - sum(linears) - embedding - head,
        widest=max(linears, default=0),
        mask=model_shape(checkpoint.config).context ** 2 if checkpoint.architecture == "gpt_bigcode" else 0,
        gated=any(name.endswith("gate_proj.weight") for name in sizes),
    )


@dataclass(frozen=True)
class MemoryParts:
    """Bytes of one artifact while it is served.

    Attributes:
        resident_weight_bytes: weights as the engine holds them.
        kv_cache_bytes: keys and values of all sequences.
        activation_bytes: what is alive beside the cache while a prompt is read, logits included; more where loading or
            the growth of the cache takes more.
        overhead_bytes: the engine itself.
    """

    resident_weight_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    overhead_bytes: int

    @property
    def peak_memory_bytes(self) -> int:
        """All of it."""
        return self.resident_weight_bytes + self.kv_cache_bytes + self.activation_bytes + self.overhead_bytes


@dataclass(frozen=True)
class MemoryModel:
    """Memory of one artifact in one engine on one backend, as a function of context, batch and beams.

    Attributes:
        weights: of the model.
        facts: of the engine.
        resident: bytes of the weights as the engine holds them.
        loading: bytes beside them that are given back when all is loaded.
        read: bytes of the weights that a step of decoding reads: without copies that only lie there.
        layer: bytes of a float copy of a quantized matrix while it is used.
        new_tokens: of an answer, which the beams of a search do not share.
    """

    weights: Weights
    facts: MemoryFacts
    resident: int
    read: int
    loading: int
    layer: int
    new_tokens: int

    def parts(self, context: int, batch: int = 1, beams: int = 1) -> MemoryParts:
        """Bytes while ``batch`` prompts are answered that fill the context together with their answers."""
        cache = self._cache(context, batch, beams)
        other = max(self._beside(cache, context, batch, beams), self.loading - cache)
        return MemoryParts(self.resident, cache, other, self.facts.overhead_bytes)

    def peak(self, context: int, batch: int = 1, beams: int = 1) -> int:
        """The sum of ``parts``."""
        cache = self._cache(context, batch, beams)
        used = cache + self._beside(cache, context, batch, beams)
        return self.resident + self.facts.overhead_bytes + max(used, self.loading)

    def largest_context(self, usable: int, limit: int, batch: int = 1, beams: int = 1) -> int:
        """Most tokens up to ``limit`` that fit into so many bytes; 0 when not even one does."""
        return _room(limit, lambda tokens: self.peak(tokens, batch, beams) <= usable)

    def largest_batch(self, usable: int, context: int, beams: int = 1) -> int:
        """Most prompts at a time, up to ``MOST_BATCH``: more is a question of time; 0 when not even one fits."""
        return _room(MOST_BATCH, lambda batch: self.peak(context, batch, beams) <= usable)

    def _cache(self, context: int, batch: int, beams: int) -> int:
        facts = self.facts
        tokens = -(-context // facts.cache_step) * facts.cache_step
        more = {"nothing": 0, "answer": min(self.new_tokens, context), "prompt": tokens}[facts.beam_cache]
        return batch * (tokens + (beams - 1) * more) * self.weights.shape.kv_cache_bytes(1, facts.cache_bytes)

    def _beside(self, cache: int, context: int, batch: int, beams: int) -> int:
        """What lies beside a cache: activations while the prompt is read, the grown cache's blocks after that."""
        most = self.facts.cache_growth
        growth = cache if most < 0 else min(cache, 2 * self.weights.shape.layers * most)
        return max(self._activations(context, batch, beams), growth)

    def _activations(self, context: int, batch: int, beams: int) -> int:
        facts, shape = self.facts, self.weights.shape
        at_once = context if facts.block is None else min(context, facts.block)
        rows = batch * at_once
        inner = facts.inner_rows[0] if self.weights.gated else facts.inner_rows[1]
        block = int(rows * (2 * shape.hidden + inner * shape.ffn)) * facts.element_bytes + self.layer
        scores = int(facts.scores * batch * shape.heads * at_once * context) * facts.element_bytes
        told = max(rows if facts.logits == "all" else batch, batch * beams)
        logits = facts.logit_copies * told * shape.vocab * _LOGIT_BYTES + rows * shape.hidden * facts.element_bytes
        return max(block, scores, logits) if facts.one_buffer else block + max(scores, logits)


def memory_model(
    weights: Weights, recipe: Recipe, file_bytes: int, facts: MemoryFacts, new_tokens: int = 100
) -> MemoryModel:
    """The memory of one artifact in an engine.

    Args:
        weights: of the model.
        recipe: by which the artifact is made.
        file_bytes: of its weight files.
        facts: of the engine on the backend.
        new_tokens: of an answer.
    """
    held = _held(recipe.format, recipe.options, facts)
    parts = (
        held.file * file_bytes,
        held.linear * weights.linear,
        held.head * (weights.head or weights.embedding),
        held.embedding * (weights.embedding if weights.head else 0),
        held.other * weights.other,
    )
    read = int(sum(parts))
    layer = held.layers * weights.widest * facts.element_bytes
    resident = read + int(held.repacked * weights.linear) + facts.mask * weights.mask
    return MemoryModel(weights, facts, resident, read, int(held.loading * file_bytes), int(layer), new_tokens)


def least_bytes(manifest: Manifest, facts: MemoryFacts) -> int:
    """Bytes that an artifact's weights take at the least once they are loaded, by its manifest alone."""
    held = _held(manifest.format, manifest.recipe.get("options") or {}, facts)
    return max(manifest.weight_bytes, int(held.file * manifest.weight_bytes + held.linear * manifest.parameters))


def _held(name: str, options: Mapping[str, Any], facts: MemoryFacts) -> Held:
    """How the engine holds the weights of a format: by its variant, by itself, or as all others."""
    variants = [f"{name}/{options[key]}" for key in _VARIANTS if key in options]
    found = next((facts.held[key] for key in (*variants, name, "") if key in facts.held), None)
    return found or Held(file=1.0)


def _room(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to a limit that fits, 0 when none does. The limit is asked first: mostly it does."""
    return limit if fits(limit) else largest(limit - 1, fits)
