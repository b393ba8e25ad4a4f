"""What a model is shown: questions in its own prompt, and with their answers, to calibrate on."""

from __future__ import annotations

from workbench.checkpoint import Checkpoint
from workbench.prompt import Prompt
from workbench.questions import QuestionSet


def prompts(checkpoint: Checkpoint, asked: QuestionSet) -> list[str]:
    """What the model is shown for each question."""
    return _rendered(checkpoint.prompt, asked)


def answered(prompt: Prompt, asked: QuestionSet) -> list[str]:
    """Each question as the model is shown it, with its SQL and what ends an answer."""
    end = f"\n{prompt.stop[0]}"
    return [text + q.query + end for text, q in zip(_rendered(prompt, asked), asked.questions, strict=True)]


def _rendered(prompt: Prompt, asked: QuestionSet) -> list[str]:
    return [prompt.render(asked.schema(q.db_name), q.question, q.instructions) for q in asked.questions]
