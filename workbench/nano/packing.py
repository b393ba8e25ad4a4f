"""Packs: one schema and many questions about it, ready for ``network.Network``.

A prompt of sqlcoder-nano starts with the schema, so the prompts about one database share their
first tokens. A pack keeps those once (``prefix``) and one padded row per question (``rows``): the
rest of the prompt and the answer. Positions go on after the prefix in every row, as they would in
the full prompt; the loss is on answer tokens only (the SQL, the fence that ends it and
``<|endoftext|>``), as in SQLCoder's own fine-tuning.

The tokens are exactly those of the rendered prompt: the cut stands after ``### Question``, where
StarCoder's pre-tokenizer cuts anyway, so tokenizing the two sides apart gives the same list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.nano.tokenizer import END_ID
from workbench.prompt import NANO

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HEAD, _TAIL = NANO.template.split("{question}")
_CUT = "### Question"


@dataclass(frozen=True)
class Example:
    """One question, tokenized: the prompt after the schema, and the answer."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Pack:
    """One schema with several questions.

    Attributes:
        prefix: ``[prefix]`` tokens of the schema part.
        rows: ``[rows, length]`` prompt rests and answers, padded on the right with ``<|endoftext|>``.
        source: ``[answers]`` places in ``[prefix + rows * length]`` whose next token counts.
        target: ``[answers]`` those next tokens.
    """

    prefix: Tensor
    rows: Tensor
    source: Tensor
    target: Tensor

    @property
    def tokens(self) -> int:
        """Tokens the network computes, padding among them."""
        return len(self.prefix) + self.rows.numel()

    def to(self, device: torch.device) -> Pack:
        """The same pack on a device."""
        return Pack(*(part.to(device) for part in (self.prefix, self.rows, self.source, self.target)))


def prefix_text(schema: str) -> str:
    """The part of the prompt all questions of a database share."""
    head = _HEAD.replace("{schema}", schema)
    return head[: head.rindex(_CUT) + len(_CUT)]


def prompt_text(question: str) -> str:
    """The part of the prompt after ``prefix_text``."""
    return _HEAD[_HEAD.rindex(_CUT) + len(_CUT) :] + question + _TAIL


def answer_text(query: str) -> str:
    """What the model is to write, without ``<|endoftext|>``: the first gold query and the closing fence."""
    return f"{first_gold(query)}\n```"


def first_gold(query: str) -> str:
    """The first of sql-eval's alternatives, without a semicolon."""
    return query.split(";", maxsplit=1)[0].strip()


def tokenize(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[Example]:
    """Examples of ``(question, query)`` pairs."""
    prompts = tokenizer.encode_batch([prompt_text(question) for question, _ in pairs])
    answers = tokenizer.encode_batch([answer_text(query) for _, query in pairs])
    return [Example(tuple(p.ids), (*a.ids, END_ID)) for p, a in zip(prompts, answers, strict=True)]


def pack(prefix: Sequence[int], examples: Sequence[Example]) -> Pack:
    """Put examples of one schema side by side; a length divisible by 8 suits the matrix units."""
    length = -(-max(len(example) for example in examples) // 8) * 8
    rows = torch.full((len(examples), length), END_ID, dtype=torch.long)
    source: list[int] = []
    target: list[int] = []
    for number, example in enumerate(examples):
        rows[number, : len(example)] = torch.tensor(example.prompt + example.answer)
        first = len(prefix) + number * length + len(example.prompt) - 1
        source += range(first, first + len(example.answer))
        target += example.answer
    return Pack(torch.tensor(prefix), rows, torch.tensor(source), torch.tensor(target))
