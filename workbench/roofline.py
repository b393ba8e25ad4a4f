"""The roofline of a decoder (Williams, Waterman, Patterson, CACM 52(4), 2009): seconds from bytes and operations.

One step of decoding reads every weight once, whatever the number of sequences, and each sequence's keys and values::

    step   = weights / (bandwidth x share) + keys and values / (bandwidth x share) + gaps + further rows' products
    prompt = passes x weights / (bandwidth x share) + 2 x weights x tokens / (compute x share) + attention
             + activations / (bandwidth x share) + gaps

``Terms`` holds the parts at the machine's own limits, ``Reach`` what an engine reaches of them; ``seconds`` adds the
quotients up, for kernels run one after another. Where a host language starts each kernel (PyTorch without graphs), no
step is quicker than its layers can be started. No share of the bandwidth exceeds 1.

    seconds(decode_terms(load, Rates(1008e9, 165e12), context=512), Reach(weights=0.85, compute=1.1))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.shape import ModelShape


@dataclass(frozen=True)
class Rates:
    """A machine's limits.

    Attributes:
        bytes_per_s: memory bandwidth.
        flops: multiplications and additions a second at 16 bits, dense.
    """

    bytes_per_s: float
    flops: float


@dataclass(frozen=True)
class Load:
    """What one token of a model costs.

    Attributes:
        shape: of the model.
        weight_bytes: read by each step: all weights but a table of embeddings, of which a step reads a few rows.
        multiplied: weights each token of a prompt is multiplied with: all but the embeddings and the head.
    """

    shape: ModelShape
    weight_bytes: float
    multiplied: float


@dataclass(frozen=True)
class Reach:
    """What an engine reaches of a machine's limits with one kind of weights: shares, and seconds per layer.

    Attributes:
        weights: share of the bandwidth while it reads weights.
        compute: share of the compute rate in a prompt's products; above 1 where an engine adds up in 16 bits or
            multiplies 8-bit integers on a card that does so at twice the rate or more.
        attention: share of the bandwidth while it reads keys and values.
        attention_compute: share of the compute rate in a prompt's attention.
        rows: share of the compute rate in the products of the second and further rows of a step.
        activations: share of the bandwidth in what a prompt's tokens move between products (norms, rotations, sums);
            above 1 where the card's caches hold it.
        layer_s: that a layer waits between its kernels.
        host_layer_s: that the host needs to start a layer's kernels; 0 where it does not hold the device up.
    """

    weights: float
    compute: float
    attention: float = 1.0
    attention_compute: float = 0.2
    rows: float = 0.22
    activations: float = 0.2
    layer_s: float = 0.0
    host_layer_s: float = 0.0


@dataclass(frozen=True)
class Terms:
    """The parts of a step's or a prompt's time at the machine's limits, in seconds, and how often layers are started.

    Attributes:
        weights_s: to read the weights.
        products_s: for the products of a prompt's tokens.
        cache_s: to read keys and values as often as the engine does.
        cache_least_s: to read them once, which no engine beats.
        attention_s: for a prompt's attention.
        rows_s: for the products of a step's further rows.
        further_rows: of a step; they take no longer than as many steps of their own.
        activations_s: to move a prompt's activations between products.
        gaps: layers run through, by a step or by all passes over a prompt.
    """

    weights_s: float = 0.0
    products_s: float = 0.0
    cache_s: float = 0.0
    cache_least_s: float = 0.0
    attention_s: float = 0.0
    rows_s: float = 0.0
    further_rows: int = 0
    activations_s: float = 0.0
    gaps: int = 0


def seconds(terms: Terms, reach: Reach) -> float:
    """The time of what the terms describe, in an engine of this reach."""
    reading_s = terms.weights_s / min(reach.weights, 1.0)
    device_s = (
        reading_s
        + terms.products_s / reach.compute
        + max(terms.cache_s / reach.attention, terms.cache_least_s)
        + terms.attention_s / reach.attention_compute
        + min(terms.rows_s / reach.rows, terms.further_rows * reading_s)
        + terms.activations_s / reach.activations
        + terms.gaps * reach.layer_s
    )
    return max(device_s, terms.gaps * reach.host_layer_s)


def decode_terms(load: Load, rates: Rates, context: float, rows: int = 1, grouped: bool = True) -> Terms:
    """One step that writes one token for each of ``rows`` sequences of ``context`` tokens each.

    Args:
        load: of the model.
        rates: of the machine.
        context: tokens of each sequence so far.
        rows: sequences.
        grouped: whether query heads that share keys and values read them once together, else each on its own.
    """
    shape = load.shape
    once_s = rows * 2 * shape.layers * shape.kv_heads * shape.head_dim * 2 * context / rates.bytes_per_s
    return Terms(
        weights_s=load.weight_bytes / rates.bytes_per_s,
        cache_s=once_s if grouped else once_s * shape.heads / shape.kv_heads,
        cache_least_s=once_s,
        rows_s=(rows - 1) * 2 * load.multiplied / rates.flops,
        further_rows=rows - 1,
        gaps=shape.layers,
    )


def prompt_terms(load: Load, rates: Rates, tokens: int, batch: int = 1, pass_tokens: int = 0) -> Terms:
    """Reading ``batch`` prompts of ``tokens`` tokens each, up to the first token of each answer.

    Args:
        load: of the model.
        rates: of the machine.
        tokens: of each prompt.
        batch: prompts.
        pass_tokens: read at a time; 0 is all at once.
    """
    shape, total = load.shape, tokens * batch
    passes = math.ceil(total / pass_tokens) if pass_tokens else 1
    pairs = batch * tokens * tokens / 2  # each token looks at those before it
    return Terms(
        weights_s=passes * load.weight_bytes / rates.bytes_per_s,
        products_s=total * 2 * load.multiplied / rates.flops,
        attention_s=4 * pairs * shape.layers * shape.heads * shape.head_dim / rates.flops,
        activations_s=total * shape.layers * _moved_bytes(shape) / rates.bytes_per_s,
        gaps=passes * shape.layers,
    )


def _moved_bytes(shape: ModelShape) -> int:
    """Bytes a layer moves for one token beside its weights: about ten rows of its width and three of its MLP's."""
    return 4 * (10 * shape.hidden + 3 * shape.ffn)
