"""What a model is shown: questions in its own prompt, and the calibration texts made of them."""

from __future__ import annotations

from workbench.checkpoint import Checkpoint
from workbench.nano import DATA_DIR
from workbench.questions import QuestionSet, load_question_set


def prompts(checkpoint: Checkpoint, asked: QuestionSet) -> list[str]:
    """What the model is shown for each question."""
    prompt = checkpoint.prompt
    return [prompt.render(asked.schema(q.db_name), q.question, q.instructions) for q in asked.questions]


def calibration_texts(checkpoint: Checkpoint) -> list[str]:
    """The bundled training questions with their answers, in the model's own prompt."""
    asked = load_question_set(DATA_DIR / "calibration.csv")
    end = f"\n{checkpoint.prompt.stop[0]}"
    return [text + q.query + end for text, q in zip(prompts(checkpoint, asked), asked.questions, strict=True)]
