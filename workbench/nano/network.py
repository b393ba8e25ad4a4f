"""StarCoder's network (``gpt_bigcode``) for training many questions of one schema at once.

The numbers are those of transformers' ``GPTBigCodeForCausalLM``, and so are the names of the
weights. What differs is the shape of the work. All questions about a database start with the same
schema, so a pack holds the schema once and below it one row per question: every row attends to the
whole schema and, causally, to itself. A schema of 300 tokens shared by 32 questions costs 9 tokens
a question instead of 300; the gradients are the same.

Multi-query attention has one key and value head for all query heads, so the heads are handled as
further query rows and no key is ever copied.

Example::

    network = Network(Shape(layers=6))
    loss = network.loss(pack)          # a packing.Pack
    GPTBigCodeForCausalLM(network.shape.config()).load_state_dict(network.state_dict(), strict=False)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import GPTBigCodeConfig

    from workbench.nano.packing import Pack


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; widths are multiples of 256, the block of llama.cpp's K-quants."""

    layers: int = 6
    width: int = 256
    heads: int = 4
    inner: int = 1024
    positions: int = 1024
    vocabulary: int = 2048

    def config(self) -> GPTBigCodeConfig:
        """The same sizes as transformers spells them."""
        from transformers import GPTBigCodeConfig

        return GPTBigCodeConfig(
            architectures=["GPTBigCodeForCausalLM"],
            vocab_size=self.vocabulary,
            n_positions=self.positions,
            n_embd=self.width,
            n_layer=self.layers,
            n_head=self.heads,
            n_inner=self.inner,
            activation_function="gelu_pytorch_tanh",
            multi_query=True,
            tie_word_embeddings=True,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )


class Attention(nn.Module):
    """Multi-query attention over a shared schema and a row per question."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.size = shape.heads, shape.width // shape.heads
        self.c_attn = nn.Linear(shape.width, shape.width + 2 * self.size)
        self.c_proj = nn.Linear(shape.width, shape.width)

    def split(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``[..., heads, size]`` and the one key and value head ``[..., size]``."""
        query, key, value = self.c_attn(hidden).split([self.heads * self.size, self.size, self.size], dim=-1)
        return query.unflatten(-1, (self.heads, self.size)), key, value

    def forward(self, hidden: Tensor, prefix: int, rows: int) -> Tensor:
        """Attend.

        Args:
            hidden: ``[prefix + rows * length, width]``, the schema first and then the rows one by one.
            prefix: tokens of the schema.
            rows: questions.
        """
        query, key, value = self.split(hidden)
        schema = self._schema(query[:prefix], key[:prefix], value[:prefix])
        own = self._rows(query[prefix:], (key, value), prefix, rows)
        return cast(Tensor, self.c_proj(torch.cat([schema, own])))

    def _schema(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        tokens = query.shape[0]
        scores = (query.transpose(0, 1) / math.sqrt(self.size)) @ key.t()
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1)
        weights = scores.float().masked_fill(later, -torch.inf).softmax(-1).to(value.dtype)
        return (weights @ value).transpose(0, 1).flatten(1)

    def _rows(self, query: Tensor, shared: tuple[Tensor, Tensor], prefix: int, rows: int) -> Tensor:
        key, value = shared
        length = query.shape[0] // rows
        query = query / math.sqrt(self.size)
        far = (query.flatten(0, 1) @ key[:prefix].t()).view(rows, length * self.heads, prefix)
        near = query.view(rows, length * self.heads, self.size) @ key[prefix:].view(rows, length, -1).transpose(1, 2)
        later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
        near = near.float().masked_fill(later.repeat_interleave(self.heads, 0), -torch.inf)
        weights = torch.cat([far.float(), near], dim=-1).softmax(-1).to(value.dtype)
        out = weights[..., prefix:] @ value[prefix:].view(rows, length, -1)
        out = out + (weights[..., :prefix].flatten(0, 1) @ value[:prefix]).view_as(out)
        return out.view(rows * length, self.heads * self.size)


class Mlp(nn.Module):
    """Two linear layers with the tanh form of GELU between them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.c_fc = nn.Linear(shape.width, shape.inner)
        self.c_proj = nn.Linear(shape.inner, shape.width)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., width]`` to the same."""
        return cast(Tensor, self.c_proj(functional.gelu(self.c_fc(hidden), approximate="tanh")))


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.width)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.width)
        self.mlp = Mlp(shape)

    def forward(self, hidden: Tensor, prefix: int, rows: int) -> Tensor:
        """``[prefix + rows * length, width]`` to the same; see ``Attention.forward``."""
        hidden = hidden + self.attn(self.ln_1(hidden), prefix, rows)
        return cast(Tensor, hidden + self.mlp(self.ln_2(hidden)))


class Body(nn.Module):
    """Everything below the head; transformers calls it ``transformer``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wte = nn.Embedding(shape.vocabulary, shape.width)
        self.wpe = nn.Embedding(shape.positions, shape.width)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.width)

    def forward(self, tokens: Tensor, places: Tensor, prefix: int, rows: int) -> Tensor:
        """``[prefix + rows * length]`` tokens and positions to last hidden states, one more dimension."""
        hidden = self.embed(tokens, places)
        for block in self.h:
            hidden = block(hidden, prefix, rows)
        return self.norm(hidden)

    def embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        """What the first layer reads, ``[..., width]``."""
        return cast(Tensor, self.wte(tokens) + self.wpe(places))

    def norm(self, hidden: Tensor) -> Tensor:
        """What the head reads, ``[..., width]``."""
        return cast(Tensor, self.ln_f(hidden))

    def blocks(self) -> Iterator[Block]:
        """The layers, with their type."""
        return (cast(Block, block) for block in self.h)


class Network(nn.Module):
    """The model; its state dict is that of ``GPTBigCodeForCausalLM`` without the tied head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.transformer = Body(shape)
        self._initialise()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.transformer.wte.weight.device

    def _initialise(self) -> None:
        # GPT-2: normal 0.02, and the two projections into the residual stream smaller with depth.
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "ln_" not in name:
                small = math.sqrt(2 * self.shape.layers) if "c_proj" in name else 1.0
                nn.init.normal_(parameter, std=0.02 / small)

    def hidden(self, pack: Pack) -> Tensor:
        """Last hidden states, ``[prefix + rows * length, width]``."""
        prefix, (rows, length) = len(pack.prefix), pack.rows.shape
        places = torch.arange(prefix + length, device=pack.rows.device)
        places = torch.cat([places[:prefix], places[prefix:].repeat(rows)])
        tokens = torch.cat([pack.prefix, pack.rows.flatten()])
        return cast(Tensor, self.transformer(tokens, places, prefix, rows))

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, ``[..., vocabulary]``; the head is the embedding."""
        return functional.linear(hidden, self.transformer.wte.weight)

    def loss(self, pack: Pack) -> Tensor:
        """Summed cross-entropy of the pack's answer tokens (nats)."""
        answers = self.hidden(pack)[pack.source]
        return functional.cross_entropy(self.logits(answers).float(), pack.target, reduction="sum")
