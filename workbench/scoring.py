"""From verdicts to figures, and to predictions that carry their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.predictions import Prediction
from workbench.questions import QuestionSet
from workbench.report import SetScores

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict
    from workbench.evals.statistics import Flips


Answer = TypeVar("Answer")


def open_server(database_url: str | None) -> Server:
    """The user's PostgreSQL, or an embedded one; close it after use.

    Raises:
        PrerequisiteError: it cannot be reached, or does not start.
    """
    from workbench.evals.postgres import Server

    return Server.connect(database_url) if database_url else Server.embedded()


def split_by_set(sets: Sequence[QuestionSet], answers: Sequence[Answer]) -> list[list[Answer]]:
    """Answers to all sets in a row (their texts, say, or their tokens), cut into those of each set."""
    rest = iter(answers)
    return [[next(rest) for _ in one.questions] for one in sets]


def score_answers(sets: Sequence[QuestionSet], answers: Sequence[str], server: Server) -> list[list[Verdict]]:
    """Verdicts of one artifact, set by set.

    Raises:
        EvaluationError: a database does not load, a gold fails, or the server is gone.
    """
    from workbench.evals.sql_accuracy import score_predictions

    return [score_predictions(one, own, server) for one, own in zip(sets, split_by_set(sets, answers), strict=True)]


def with_unasked(verdicts: Sequence[Verdict], reasons: Sequence[str]) -> list[Verdict]:
    """Verdicts in which a question that could not be asked is an ``error``, for the reason given.

    Args:
        verdicts: of the answers, empty ones where there is none.
        reasons: one a question, nothing for those that were asked.
    """
    return [
        replace(verdict, verdict="error", exact=False, reason=reason) if reason else verdict
        for verdict, reason in zip(verdicts, reasons, strict=True)
    ]


def set_scores(
    question_set: QuestionSet, verdicts: Sequence[Verdict], reference: Sequence[Verdict] | None
) -> SetScores:
    """Scores of one artifact on one set, with flips against the reference's verdicts when given."""
    from workbench.evals.statistics import summarize

    return SetScores(
        question_set.name,
        tuple(summarize(question_set, verdicts)),
        dict(Counter(verdict.verdict for verdict in verdicts if verdict.answerable)),
        flips_record(question_set, reference, verdicts)
        if reference and any(one.answerable for one in reference)
        else None,
    )


def flips_record(
    question_set: QuestionSet, reference: Sequence[Verdict], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Flips on the answerable questions as JSON values: in all, under ``groups`` by category and hardness, and
    under ``flipped`` question by question.

    Raises:
        EvaluationError: the two answered different questions, or none that has an answer.
    """
    from workbench.evals.statistics import flipped, flips, group_flips

    def record(found: Flips) -> dict[str, Any]:
        return {**asdict(found), "interval": list(found.interval)}

    groups = group_flips(question_set, reference, verdicts)
    return {
        **record(flips(reference, verdicts)),
        "groups": {name: record(one) for name, one in groups.items()},
        "flipped": [asdict(one) for one in flipped(reference, verdicts)],
    }


def judged_predictions(
    question_set: QuestionSet, predictions: Sequence[Prediction], verdicts: Sequence[Verdict]
) -> list[Prediction]:
    """Predictions with what was asked and how each was judged as further keys of their lines."""
    return [
        replace(
            prediction,
            further={
                **prediction.further,
                "db_name": question.db_name,
                "question": question.question,
                "gold": question.query,
                "sql": verdict.sql,
                "verdict": verdict.verdict,
                "exact": verdict.exact,
                "reason": verdict.reason,
            },
        )
        for question, prediction, verdict in zip(question_set.questions, predictions, verdicts, strict=True)
    ]
