"""What every decoder's graph is made of: inputs and cache, embedding, linear layers, attention.

Two graphs are made of one set of weights. One computes in float32, which CPUs do natively: float16 weights become
float32 once, when the model is loaded. The other computes in float16, which GPUs do natively. Only operators
of the ONNX standard are used, and ``MatMulNBits`` for quantized matrices, so both graphs run wherever those exist.

Values are ``[batch x sequence, width]`` outside attention. Attention keeps the heads that share a key together:
their queries are rows of one product, so multi-query and grouped-query attention read each key and value once.
Keys and values come from ``past_key_values.N.key`` and ``.value``, ``[batch, kv_heads, past, head_dim]``, and leave
extended as ``present.N.key`` and ``.value``: the names that optimum uses. Masks follow ``attention_mask``, 1 for
what counts, so prompts may be padded on either side as long as ``position_ids`` says what is where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from workbench.errors import CheckpointError
from workbench.formats._onnx_blocks import BLOCK
from workbench.formats._onnx_graph import MICROSOFT, Graph
from workbench.formats._onnx_weights import Weights
from workbench.shape import ModelShape

Arithmetic = Literal["float32", "float16"]
# onnxruntime's CPU products with 4- and 8-bit weights take activations in blocks of 8-bit integers at level 4, which
# its kernels are made for: with float32 activations 8-bit weights would be unpacked anew for every token, a hundred
# times slower. CUDA ignores the level.
ACCURACY_LEVEL = 4
_MASKED = -30000.0  # added to a score: no weight is left, and float16 still holds the sum


class Layers:
    """A decoder's graph in the making.

    Args:
        weights: gets what must be stored.
        shape: sizes of the model.
        arithmetic: the type everything is computed in.
        window: how many tokens a token sees, itself included; ``None`` for all.
    """

    def __init__(self, weights: Weights, shape: ModelShape, arithmetic: Arithmetic, window: int | None = None) -> None:
        self.graph = Graph("decoder")
        self.weights = weights
        self.shape = shape
        self.arithmetic = arithmetic
        self._cast: dict[str, str] = {}
        self._shapes: dict[tuple[int | str, ...], str] = {}
        self._present: list[tuple[str, str]] = []
        graph = self.graph
        ids = graph.input("input_ids", "int64", ("batch_size", "sequence_length"))
        mask = graph.input("attention_mask", "int64", ("batch_size", "total_sequence_length"))
        self.ids, self.positions = ids, graph.input("position_ids", "int64", ("batch_size", "sequence_length"))
        self._batch = graph.node("Shape", ids, start=0, end=1)
        self._sequence = graph.node("Shape", ids, start=1, end=2)
        self._total = graph.node("Shape", mask, start=1, end=2)
        self._bias = self._mask_bias(mask, window)

    def embed(self, name: str, ids: str) -> str:
        """Rows of a table, ``[batch, sequence, width]``; only they are widened, not the table."""
        return self.computed(self.graph.node("Gather", self.weights.floats(name), ids))

    def flat(self, value: str) -> str:
        """``[batch, sequence, ...]`` as ``[batch x sequence, width]``."""
        return self.graph.node("Reshape", value, self.graph.constant([-1, self.shape.hidden]))

    def vector(self, name: str, sources: Sequence[str] | None = None) -> str:
        """A stored vector in the type of the arithmetic."""
        return self.computed(self.weights.floats(name, sources))

    def linear(self, value: str, name: str, parts: Sequence[str] = ()) -> str:
        """A linear layer, or several side by side that read the same input.

        Args:
            value: ``[rows, in]``.
            name: the layer's path; of several, one of their own.
            parts: paths of several layers.
        """
        layers = parts or (name,)
        biases = [f"{layer}.bias" for layer in layers if self.weights.has(f"{layer}.bias")]
        if biases and len(biases) != len(layers):
            raise CheckpointError(f"of {', '.join(layers)} only some have a bias; choose another format")
        bias = self.vector(f"{name}.bias", biases) if biases else None
        return self.product(value, f"{name}.weight", [f"{layer}.weight" for layer in layers], self.weights.bits, bias)

    def product(self, value: str, name: str, sources: Sequence[str], bits: int, bias: str | None = None) -> str:
        """``value`` times the transposed matrix of these rows, stored in so many bits (16: float16)."""
        if bits == 16:
            matrix = self.computed(self.weights.floats(name, sources))
            return self.graph.node("Gemm", value, matrix, *([bias] if bias else []), transB=1)
        rows, columns = self.weights.shape(sources)
        codes, scales, *zeros = self.weights.blocks(name, sources, bits)
        level = {"accuracy_level": ACCURACY_LEVEL} if self.arithmetic == "float32" else {}
        made = self.graph.node(
            "MatMulNBits", value, codes, self.computed(scales), *zeros,
            domain=MICROSOFT, K=columns, N=rows, bits=bits, block_size=BLOCK, **level,
        )  # fmt: skip
        return self.graph.node("Add", made, bias) if bias else made

    def unflatten(self, value: str, *widths: int) -> str:
        """``[batch x sequence, width]`` as ``[batch, sequence, *widths]``."""
        return self.graph.node("Reshape", value, self._dimensions(self._batch, self._sequence, *widths))

    def layer_norm(self, value: str, name: str, epsilon: float) -> str:
        """LayerNorm; its statistics are float32 in either arithmetic."""
        weight, bias = self.vector(f"{name}.weight"), self.vector(f"{name}.bias")
        return self.graph.node("LayerNormalization", value, weight, bias, axis=-1, epsilon=epsilon)

    def rms_norm(self, value: str, name: str, epsilon: float) -> str:
        """RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467) in float32, as transformers has it."""
        graph = self.graph
        wide = value if self.arithmetic == "float32" else graph.cast(value, "float32")
        square = graph.node("Pow", wide, graph.constant(2.0, "float32"))
        mean = graph.node("ReduceMean", square, graph.constant([-1]), keepdims=1)
        root = graph.node("Sqrt", graph.node("Add", mean, graph.constant(epsilon, "float32")))
        unit = self.computed(graph.node("Div", wide, root), stored="float32")
        return graph.node("Mul", unit, self.vector(f"{name}.weight"))

    def attention(self, layer: int, query: str, key: str, value: str, scale: float) -> str:
        """Attention over the past and these tokens.

        Args:
            layer: its number, for the names of the cache.
            query: ``[batch, sequence, heads, head_dim]``.
            key: ``[batch, sequence, kv_heads, head_dim]``.
            value: likewise.
            scale: of the scores, ``head_dim ** -0.5`` as a rule.

        Returns:
            ``[batch x sequence, heads x head_dim]``.
        """
        graph, shape = self.graph, self.shape
        keys, values = self._extend(layer, "key", key), self._extend(layer, "value", value)
        self._present.append((keys, values))
        query = graph.node("Mul", query, graph.constant(scale, self.arithmetic))
        query = graph.node("Transpose", query, perm=(0, 2, 1, 3))
        query = graph.node("Reshape", query, graph.constant([0, shape.kv_heads, -1, shape.head_dim]))
        scores = graph.node("MatMul", query, graph.node("Transpose", keys, perm=(0, 1, 3, 2)))
        scores = graph.node("Reshape", scores, self._dimensions(self._batch, shape.heads, self._sequence, self._total))
        scores = graph.node("Softmax", graph.node("Add", scores, self._bias), axis=-1)
        scores = graph.node("Reshape", scores, self._dimensions(self._batch, shape.kv_heads, -1, self._total))
        mixed = graph.node("MatMul", scores, values)
        mixed = graph.node("Reshape", mixed, graph.constant([0, shape.heads, -1, shape.head_dim]))
        mixed = graph.node("Transpose", mixed, perm=(0, 2, 1, 3))
        return graph.node("Reshape", mixed, graph.constant([-1, shape.heads * shape.head_dim]))

    def logits(self, value: str, table: str, bits: int) -> None:
        """The head: float32 logits ``[batch, sequence, vocabulary]``, whatever the arithmetic.

        Args:
            value: ``[batch x sequence, hidden]``.
            table: the head's matrix; of a tied model the embedding, which is stored once.
            bits: of a copy of it for the product; 16 for the table itself.
        """
        name = table if bits == 16 else "lm_head.blocks"
        scores = self.unflatten(self.product(value, name, [table], bits), self.shape.vocab)
        if self.arithmetic != "float32":
            scores = self.graph.cast(scores, "float32")
        self.graph.output(scores, "logits", "float32", ("batch_size", "sequence_length", self.shape.vocab))

    def finish(self) -> Graph:
        """The graph, its outputs in the usual order: logits, then each layer's key and value."""
        for layer, pair in enumerate(self._present):
            for kind, value in zip(("key", "value"), pair, strict=True):
                dimensions = ("batch_size", self.shape.kv_heads, "total_sequence_length", self.shape.head_dim)
                self.graph.output(value, f"present.{layer}.{kind}", self.arithmetic, dimensions)
        return self.graph

    def computed(self, value: str, stored: str = "float16") -> str:
        """A value in the type of the arithmetic; one that is asked for again is not widened again."""
        if self.arithmetic == stored:
            return value
        if value not in self._cast:
            self._cast[value] = self.graph.cast(value, self.arithmetic)
        return self._cast[value]

    def _extend(self, layer: int, kind: str, new: str) -> str:
        """The cache's keys or values with those of these tokens, ``[batch, kv_heads, total, head_dim]``."""
        dimensions = ("batch_size", self.shape.kv_heads, "past_sequence_length", self.shape.head_dim)
        past = self.graph.input(f"past_key_values.{layer}.{kind}", self.arithmetic, dimensions)
        new = self.graph.node("Transpose", new, perm=(0, 2, 1, 3))
        return self.graph.node("Concat", past, new, axis=2)

    def _mask_bias(self, mask: str, window: int | None) -> str:
        """What is added to scores: 0 where a token looks, much less elsewhere; ``[batch, 1, sequence, total]``."""
        graph = self.graph
        keys = graph.node("Range", graph.constant(0), graph.node("Squeeze", self._total), graph.constant(1))
        steps = graph.node("Range", graph.constant(0), graph.node("Squeeze", self._sequence), graph.constant(1))
        queries = graph.node("Add", steps, graph.node("Sub", self._total, self._sequence))
        queries = graph.node("Unsqueeze", queries, graph.constant([1]))
        seen = graph.node("LessOrEqual", keys, queries)
        if window:
            first = graph.node("Sub", queries, graph.constant(window))
            seen = graph.node("And", seen, graph.node("Greater", keys, first))
        counts = graph.node("Unsqueeze", graph.cast(mask, "bool"), graph.constant([1, 2]))
        zero, masked = (graph.constant(number, self.arithmetic) for number in (0.0, _MASKED))
        return graph.node("Where", graph.node("And", seen, counts), zero, masked)

    def _dimensions(self, *sizes: int | str) -> str:
        """A shape made of numbers and of one-element values, computed once for all layers."""
        if sizes not in self._shapes:
            scope, self.graph.scope = self.graph.scope, ""
            values = [self.graph.constant([size]) if isinstance(size, int) else size for size in sizes]
            self._shapes[sizes] = self.graph.node("Concat", *values, axis=0)
            self.graph.scope = scope
        return self._shapes[sizes]
