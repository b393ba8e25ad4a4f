"""The decoders as ONNX graphs: gpt_bigcode, llama and mistral, computing what transformers computes.

Source of the arithmetic: transformers, ``models/gpt_bigcode``, ``models/llama`` and ``models/mistral``
(``modeling_*.py``). What a config asks for and is not written down here is refused, never approximated.

Example::

    weights = Weights(checkpoint, bits=16)
    graph = decoder(checkpoint, weights, "float32")
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._onnx_graph import Graph
from workbench.formats._onnx_layers import Arithmetic, Layers
from workbench.formats._onnx_weights import Weights
from workbench.model_config import rope_parameters
from workbench.shape import model_shape

if TYPE_CHECKING:
    from torch import Tensor

HEAD_BITS = (
    8  # of a quantized head: it decides each token, and 4 bits would save two hundredths of a large model's file
)
_GELUS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu_fast": "tanh"}
_MISTRAL_WINDOW = 4096  # where a mistral's config says nothing


def decoder(checkpoint: Checkpoint, weights: Weights, arithmetic: Arithmetic) -> Graph:
    """The graph of a checkpoint; ``weights`` gets what it reads.

    Raises:
        CheckpointError: a tensor is missing, or the config asks for something that is not written down here.
    """
    make = _starcoder if checkpoint.architecture == "gpt_bigcode" else _llama
    return make(checkpoint, weights, arithmetic)


def _starcoder(checkpoint: Checkpoint, weights: Weights, arithmetic: Arithmetic) -> Graph:
    """GPT-2's block with learned positions; one key-value head for all, or one each."""
    config, shape = checkpoint.config, model_shape(checkpoint.config)
    layers = Layers(weights, shape, arithmetic)
    graph, epsilon = layers.graph, float(config.get("layer_norm_epsilon", 1e-5))
    activation = _choice(checkpoint, "activation_function", "gelu_pytorch_tanh", _GELUS)
    scale = shape.head_dim**-0.5 if config.get("scale_attn_weights", True) else 1.0
    tokens = layers.embed("transformer.wte.weight", layers.ids)
    value = layers.flat(graph.node("Add", tokens, layers.embed("transformer.wpe.weight", layers.positions)))
    for number in range(shape.layers):
        path = graph.scope = f"transformer.h.{number}"
        unit = layers.layer_norm(value, f"{path}.ln_1", epsilon)
        joined = layers.linear(unit, f"{path}.attn.c_attn")
        if config.get("multi_query", True):
            joined = layers.unflatten(joined, shape.heads + 2, shape.head_dim)
            split = graph.constant([shape.heads, 1, 1])
            query, key, fresh = graph.nodes("Split", 3, joined, split, axis=2)
        else:
            joined = layers.unflatten(joined, shape.heads, 3 * shape.head_dim)
            query, key, fresh = graph.nodes("Split", 3, joined, graph.constant([shape.head_dim] * 3), axis=3)
        mixed = layers.attention(number, query, key, fresh, scale)
        value = graph.node("Add", value, layers.linear(mixed, f"{path}.attn.c_proj"))
        unit = layers.layer_norm(value, f"{path}.ln_2", epsilon)
        inner = graph.node("Gelu", layers.linear(unit, f"{path}.mlp.c_fc"), approximate=activation)
        value = graph.node("Add", value, layers.linear(inner, f"{path}.mlp.c_proj"))
    graph.scope = ""
    value = layers.layer_norm(value, "transformer.ln_f", epsilon)
    layers.logits(value, _head(checkpoint, "transformer.wte.weight", tied=True), _head_bits(weights))
    return layers.finish()


def _llama(checkpoint: Checkpoint, weights: Weights, arithmetic: Arithmetic) -> Graph:
    """RMSNorm, rotary positions, grouped-query attention, gated MLP; a mistral may see a sliding window only."""
    config, shape = checkpoint.config, model_shape(checkpoint.config)
    _choice(checkpoint, "hidden_act", "silu", {"silu": "", "swish": ""})
    window = config.get("sliding_window", _MISTRAL_WINDOW) if checkpoint.architecture == "mistral" else None
    layers = Layers(weights, shape, arithmetic, window)
    graph, epsilon = layers.graph, float(config.get("rms_norm_eps", 1e-6))
    both, split = shape.heads + shape.kv_heads, graph.constant([shape.heads, shape.kv_heads])
    angles = _angles(checkpoint, layers, shape.head_dim)
    value = layers.flat(layers.embed("model.embed_tokens.weight", layers.ids))
    for number in range(shape.layers):
        path = graph.scope = f"model.layers.{number}"
        unit = layers.rms_norm(value, f"{path}.input_layernorm", epsilon)
        parts = [f"{path}.self_attn.{name}_proj" for name in "qkv"]
        joined = layers.linear(unit, f"{path}.self_attn.qkv_proj", parts)
        joined = layers.unflatten(joined, both + shape.kv_heads, shape.head_dim)
        turning, fresh = graph.nodes("Split", 2, joined, graph.constant([both, shape.kv_heads]), axis=2)
        query, key = graph.nodes("Split", 2, _rotate(graph, turning, angles, shape.head_dim), split, axis=2)
        mixed = layers.attention(number, query, key, fresh, shape.head_dim**-0.5)
        value = graph.node("Add", value, layers.linear(mixed, f"{path}.self_attn.o_proj"))
        unit = layers.rms_norm(value, f"{path}.post_attention_layernorm", epsilon)
        parts = [f"{path}.mlp.{name}_proj" for name in ("gate", "up")]
        joined = layers.linear(unit, f"{path}.mlp.gate_up_proj", parts)
        gate, up = graph.nodes("Split", 2, joined, graph.constant([shape.ffn] * 2), axis=1)
        inner = graph.node("Mul", graph.node("Mul", gate, graph.node("Sigmoid", gate)), up)
        value = graph.node("Add", value, layers.linear(inner, f"{path}.mlp.down_proj"))
    graph.scope = ""
    value = layers.rms_norm(value, "model.norm", epsilon)
    layers.logits(value, _head(checkpoint, "model.embed_tokens.weight", tied=False), _head_bits(weights))
    return layers.finish()


def _head_bits(weights: Weights) -> int:
    return 16 if weights.bits == 16 else HEAD_BITS


def _head(checkpoint: Checkpoint, embedding: str, tied: bool) -> str:
    """The head's matrix: the embedding where the config, or the architecture by default, ties them."""
    return embedding if checkpoint.config.get("tie_word_embeddings", tied) else "lm_head.weight"


def _choice(checkpoint: Checkpoint, key: str, default: str, known: dict[str, str]) -> str:
    """What a config chooses under a key, in ONNX's words."""
    value = checkpoint.config.get(key, default)
    if value not in known:
        raise CheckpointError(
            f"{checkpoint.path}/config.json has {key} {value!r}, which is not converted to ONNX here (known: "
            f"{', '.join(known)}); choose another format"
        )
    return known[value]


def _angles(checkpoint: Checkpoint, layers: Layers, width: int) -> tuple[str, str]:
    """Cosine and sine of every position's angles, ``[batch, sequence, 1, head_dim]``, computed in float32."""
    graph = layers.graph
    compute = partial(_frequencies, _rope(checkpoint), width)
    frequencies = graph.table("rotary_frequencies", width // 2, "float32", compute)
    places = graph.cast(graph.node("Unsqueeze", layers.positions, graph.constant([2, 3])), "float32")
    half = graph.node("Mul", places, frequencies)
    angles = graph.node("Concat", half, half, axis=3)
    cosine, sine = (layers.computed(graph.node(op, angles), stored="float32") for op in ("Cos", "Sin"))
    return cosine, sine


def _rotate(graph: Graph, value: str, angles: tuple[str, str], width: int) -> str:
    """Rotary embedding (Su et al. 2021, arXiv 2104.09864) of ``[batch, sequence, heads, head_dim]``, halves paired."""
    first, second = graph.nodes("Split", 2, value, graph.constant([width // 2] * 2), axis=3)
    turned = graph.node("Concat", graph.node("Neg", second), first, axis=3)
    cosine, sine = angles
    return graph.node("Add", graph.node("Mul", value, cosine), graph.node("Mul", turned, sine))


def _rope(checkpoint: Checkpoint) -> dict[str, Any]:
    """Settings of the rotary embedding, in transformers 5's keys, from old configs and new.

    Raises:
        CheckpointError: a kind that is not written down here.
    """
    rope = {"rope_theta": 10000.0, **rope_parameters(checkpoint.config)}
    if rope["rope_type"] not in ("default", "linear", "llama3") or rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError(
            f"{checkpoint.path} scales its rotary embedding by {rope['rope_type']!r}, which is not converted to ONNX "
            "here (known: default, linear, llama3, of whole heads); choose another format"
        )
    return rope


def _frequencies(rope: dict[str, Any], width: int) -> Tensor:
    """Angle per position of each pair, ``[head_dim / 2]``, operation by operation as transformers computes it."""
    import math

    import torch

    exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
    frequencies: Tensor = 1.0 / (rope["rope_theta"] ** exponents)
    if rope["rope_type"] == "linear":
        frequencies /= rope["factor"]
    if rope["rope_type"] == "llama3":
        old = rope["original_max_position_embeddings"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        lengths = 2 * math.pi / frequencies
        slow = torch.where(lengths > old / low, frequencies / rope["factor"], frequencies)
        smooth = (old / lengths - low) / (high - low)
        between = (1 - smooth) * slow / rope["factor"] + smooth * slow
        medium = ~(lengths < old / high) * ~(lengths > old / low)
        frequencies = torch.where(medium, between, slow)
    return frequencies
