"""The texts over which artifacts are compared token by token: right answers after the model's own prompts.

Every artifact reads the same tokens ("teacher forcing"), so what it would have written plays no part, and every token
of every text is a comparison. Two parts of a question are compared and reported apart: its ``answers``, the gold query
with the text that ends an answer, which is what the model is there for; and its ``prompts``, the first tokens of the
question itself, which no model can foresee and where distributions are therefore broad.

Prompt and answer are cut where the model's own generation would begin: if the prompt's tokens do not begin those of the
whole text, the answer is tokenized by itself.

Example::

    texts = forced_texts(checkpoint, [load_question_set(path)], Limits(questions=64, context=1024, rows=100_000))
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from workbench.asking import prompts
from workbench.checkpoint import Checkpoint
from workbench.questions import Question, QuestionSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPT_TOKENS = 16  # of each question: telling a position is work, and answers are what counts

Part: TypeAlias = Literal["answers", "prompts"]


@dataclass(frozen=True)
class ForcedText:
    """Token ids to read, the last of which are compared.

    Attributes:
        tokens: ids, with those that the tokenizer puts around a prompt.
        first: place of the first token to compare, at least 1.
        question: number of the question, the same for both of its parts.
        part: of the question.
        question_set: name of the set it is from.
    """

    tokens: list[int]
    first: int
    question: int
    part: Part
    question_set: str

    @property
    def compared(self) -> list[int]:
        """Ids in the places that are compared."""
        return self.tokens[self.first :]


@dataclass(frozen=True)
class Limits:
    """How much is compared at most.

    Attributes:
        questions: of all sets together, evenly spread over each.
        context: tokens of one text; questions with longer ones are left out.
        rows: places compared, of all texts together.
        tokens: read, of all texts together.
    """

    questions: int
    context: int
    rows: float = math.inf
    tokens: float = math.inf


def forced_texts(checkpoint: Checkpoint, sets: Sequence[QuestionSet], limits: Limits) -> list[ForcedText]:
    """Texts of evenly spread questions, sorted by their tokens, so that engines read what they share once.

    Answers come before prompts: then an engine reads each prompt as it does when it is asked, in one piece.

    Args:
        checkpoint: whose prompt and tokenizer are used.
        sets: questions with their gold queries; those without one are left out.
        limits: what exceeds them costs questions, down to two.
    """
    tokenizer = _tokenizer(checkpoint)
    by_question: list[list[ForcedText]] = []
    for asked in spread(sets, limits.questions):
        blank = [dataclasses.replace(question, question="") for question in asked.questions]
        without = prompts(checkpoint, dataclasses.replace(asked, questions=tuple(blank)))
        for question, shown, empty in zip(asked.questions, prompts(checkpoint, asked), without, strict=True):
            answer = answer_text(question, checkpoint.prompt.stop)
            if answer is not None:
                parts = _parts(tokenizer, (shown, empty, answer), question)
                number, name = len(by_question), asked.name
                by_question.append([ForcedText(ids, at, number, part, name) for part, (ids, at) in parts.items()])
    fitting = [texts for texts in by_question if max(len(text.tokens) for text in texts) <= limits.context]
    texts = (text for texts in _within(fitting, limits) for text in texts)
    return sorted(texts, key=lambda text: (text.part, text.tokens))


def spread(sets: Sequence[QuestionSet], limit: int) -> list[QuestionSet]:
    """About ``limit`` questions of all sets, each set's share as large as it is, none without a question."""
    total = sum(len(one.questions) for one in sets)
    return [one.thinned(max(1, round(limit * len(one.questions) / total))) for one in sets]


def answer_text(question: Question, stop: Sequence[str]) -> str | None:
    """The first gold query as the model is to write it, with what ends an answer; ``None`` without SQL."""
    from workbench.evals.golds import expand

    queries = expand(question.query)
    if not queries:
        return None
    end = stop[0].lstrip("\n")
    return queries[0] + (end if end == ";" else f"\n{end}")


def _parts(
    tokenizer: PreTrainedTokenizerBase, written: tuple[str, str, str], question: Question
) -> dict[Part, tuple[list[int], int]]:
    """Token ids and the first place to compare, of each part; from a prompt, it without the question, and an answer."""
    shown, empty, answer = written
    prompt: list[int] = tokenizer.encode(shown)
    whole: list[int] = tokenizer.encode(shown + answer)
    if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
        whole = prompt + tokenizer.encode(answer, add_special_tokens=False)
    parts: dict[Part, tuple[list[int], int]] = {"answers": (whole, len(prompt))}
    start = max(1, _common(prompt, tokenizer.encode(empty)))
    asked = len(tokenizer.encode(question.question, add_special_tokens=False))
    end = min(len(prompt), start + min(asked, PROMPT_TOKENS))
    return parts | {"prompts": (prompt[:end], start)} if start < end else parts


def _within(by_question: list[list[ForcedText]], limits: Limits) -> list[list[ForcedText]]:
    """As many questions as the limits allow, evenly spread, and at least two where there are."""
    texts = [text for question in by_question for text in question]
    rows, tokens = sum(len(text.compared) for text in texts), sum(len(text.tokens) for text in texts)
    share = min(1.0, limits.rows / max(rows, 1), limits.tokens / max(tokens, 1))
    count = min(len(by_question), max(2, int(len(by_question) * share)))
    return [by_question[place * len(by_question) // count] for place in range(count)]


def _tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    from workbench.quiet import quiet_libraries

    with quiet_libraries():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            checkpoint.path, local_files_only=True, model_max_length=sys.maxsize
        )  # what is too long is left out here: no warning of it
    return tokenizer


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))
