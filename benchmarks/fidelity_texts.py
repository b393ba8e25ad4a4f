"""The texts of the fidelity benchmark, as token ids that every tool is given alike.

Calibration texts are bundled training questions with their answers, in the model's own prompt; held-out texts are
questions nobody trained on: ``heldout`` of the same databases, whose schemas the calibration shows, and ``unseen`` of
databases it does not.

A model may be shown the last tokens of each text only (``tokens``), so that a tool which needs hundreds of passes over
them ends within the hour on two cores: the end of a schema, the question and the answer stay. A text counts only if
its cut ids, written as text and read again, are the same ids: some tools take ids and some take texts.

Example::

    texts = texts_for(open_checkpoint("sqlcoder-nano"), tokens=None)
    texts.calibration.ids[0], texts.heldout["unseen"].ids[0]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.artifact import sha256_json
from workbench.asking import prompts
from workbench.checkpoint import Checkpoint
from workbench.nano import DATA_DIR
from workbench.questions import load_question_set

CALIBRATION = 128
HELDOUT = {"heldout": 64, "unseen": 32}


@dataclass(frozen=True)
class Texts:
    """Texts, place by place.

    Attributes:
        texts: as text.
        ids: as token ids.
        answers: the place in the ids where the answer begins.
    """

    texts: list[str]
    ids: list[list[int]]
    answers: list[int]


@dataclass(frozen=True)
class FidelityTexts:
    """What is calibrated on and what is judged on.

    Attributes:
        calibration: what tools may look at.
        heldout: what they are judged on, by question set.
    """

    calibration: Texts
    heldout: dict[str, Texts]

    @cached_property
    def digest(self) -> str:
        """sha256 of all ids."""
        return sha256_json([self.calibration.ids, {name: one.ids for name, one in self.heldout.items()}])


def texts_for(checkpoint: Checkpoint, tokens: int | None) -> FidelityTexts:
    """The texts of one model.

    Args:
        checkpoint: whose prompt and tokenizer are used.
        tokens: how many of each text's last tokens are kept, shorter texts being left out; ``None`` for all.

    Raises:
        ValueError: too few texts are long enough.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
    calibration = chosen(answered(checkpoint, "calibration"), tokenizer, CALIBRATION, tokens)
    heldout = {name: chosen(answered(checkpoint, name), tokenizer, count, tokens) for name, count in HELDOUT.items()}
    return FidelityTexts(calibration, heldout)


def answered(checkpoint: Checkpoint, name: str) -> list[tuple[str, str]]:
    """A bundled question set: the model's prompt for each question, and the same with its answer."""
    asked = load_question_set(DATA_DIR / f"{name}.csv")
    end = f"\n{checkpoint.prompt.stop[0]}"
    return [(text, text + q.query + end) for text, q in zip(prompts(checkpoint, asked), asked.questions, strict=True)]


def chosen(pairs: list[tuple[str, str]], tokenizer: Any, count: int, tokens: int | None) -> Texts:
    """So many texts at even distances, of those that keep their ids when cut.

    Raises:
        ValueError: there are fewer.
    """
    fitting = [found for found in (cut(*pair, tokenizer, tokens) for pair in pairs) if found]
    if len(fitting) < count:
        raise ValueError(f"{len(fitting)} of {len(pairs)} texts can be cut to {tokens} tokens, {count} are needed")
    few = [fitting[place * len(fitting) // count] for place in range(count)]
    texts, ids, answers = (list(values) for values in zip(*few, strict=True))
    return Texts(texts, ids, answers)


def cut(prompt: str, text: str, tokenizer: Any, tokens: int | None) -> tuple[str, list[int], int] | None:
    """The end of a text, its ids, and where among them the answer begins.

    Args:
        prompt: with which the text begins.
        text: with its answer.
        tokenizer: transformers' own.
        tokens: how many are kept at the end; ``None`` for all.

    Returns:
        ``None`` if the text is shorter than that, reads otherwise when cut, or is answer alone.
    """
    ids: list[int] = tokenizer.encode(text)
    asked = tokenizer.encode(prompt)
    answer = next((place for place, pair in enumerate(zip(asked, ids, strict=False)) if pair[0] != pair[1]), len(asked))
    if tokens is None:
        return text, ids, answer
    answer -= len(ids) - tokens
    end: str = tokenizer.decode(ids[-tokens:], clean_up_tokenization_spaces=False)
    same = len(ids) >= tokens and tokenizer.encode(end) == ids[-tokens:]
    return (end, ids[-tokens:], answer) if same and answer > 0 else None
