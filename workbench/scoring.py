"""From verdicts to figures and to a file of predictions that anyone can score again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.questions import QuestionSet
from workbench.report import SetScores
from workbench.storage import storage_error

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict


def split_by_set(sets: Sequence[QuestionSet], answers: Sequence[str]) -> list[list[str]]:
    """Answers to all sets in a row, cut into those of each set."""
    rest = iter(answers)
    return [[next(rest) for _ in one.questions] for one in sets]


def score_answers(sets: Sequence[QuestionSet], answers: Sequence[str], server: Server) -> list[list[Verdict]]:
    """Verdicts of one artifact, set by set.

    Raises:
        EvaluationError: a database does not load, a gold fails, or the server is gone.
    """
    from workbench.evals.sql_accuracy import score_predictions

    return [score_predictions(one, own, server) for one, own in zip(sets, split_by_set(sets, answers), strict=True)]


def set_scores(
    question_set: QuestionSet, verdicts: Sequence[Verdict], reference: Sequence[Verdict] | None
) -> SetScores:
    """Scores of one artifact on one set, with flips against the reference's verdicts when given."""
    from workbench.evals.statistics import flips, summarize

    return SetScores(
        question_set.name,
        tuple(summarize(question_set, list(verdicts))),
        dict(Counter(verdict.verdict for verdict in verdicts)),
        asdict(flips(list(reference), list(verdicts))) if reference else None,
    )


def write_predictions(
    path: Path, question_set: QuestionSet, answers: Sequence[str], verdicts: Sequence[Verdict]
) -> None:
    """One JSON line per question: what was asked, answered, extracted and judged."""
    lines = [
        json.dumps(
            {
                "id": question.id,
                "db_name": question.db_name,
                "question": question.question,
                "gold": question.query,
                "answer": answer,
                "sql": verdict.sql,
                "verdict": verdict.verdict,
                "exact": verdict.exact,
                "reason": verdict.reason,
            },
            ensure_ascii=False,
        )
        for question, answer, verdict in zip(question_set.questions, answers, verdicts, strict=True)
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise storage_error(error, path) from error
