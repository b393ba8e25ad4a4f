"""The questions that flipped, with the SQL of both sides: what a reader needs to see why an answer was lost.

Counts say how much an artifact lost; the queries say what it does differently (a wrong column, a missing filter). A
report holds what was asked, the gold and the reference's answer once per question, and each artifact's own answer with
its flips, so that 24 artifacts that lose the same question tell it once::

    flips = with_answers(flips, verdicts)                   # each flipped question with this artifact's SQL
    flipped_questions(question_set, reference_verdicts, names)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.questions import QuestionSet

if TYPE_CHECKING:
    from workbench.evals.sql_accuracy import Verdict


def with_answers(flips: Mapping[str, Any] | None, verdicts: Sequence[Verdict]) -> dict[str, Any] | None:
    """A flips record whose flipped questions carry the artifact's ``sql`` and the ``reason`` of its verdict.

    Args:
        flips: as ``scoring.flips_record`` makes it, or ``None``.
        verdicts: of the artifact on the same questions.
    """
    if flips is None:
        return None
    own = {verdict.question_id: verdict for verdict in verdicts}
    answers = [
        {**one, "sql": own[one["question_id"]].sql, "reason": own[one["question_id"]].reason}
        for one in flips["flipped"]
    ]
    return {**flips, "flipped": answers}


def flipped_questions(
    question_set: QuestionSet, reference: Sequence[Verdict], names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """What was asked and how the reference answered, by question id, in the file's order.

    Args:
        question_set: that was asked.
        reference: its verdicts on the reference's answers.
        names: ids of the questions wanted.

    Returns:
        For each ``question``, ``database``, ``category``, ``hardness``, ``gold``, and of the reference ``sql``,
        ``verdict`` and ``reason``.
    """
    from workbench.evals.statistics import question_groups

    wanted = set(names)
    levels = {
        name: group.removeprefix("hardness/")
        for group, members in question_groups(question_set, wanted).items()
        if group.startswith("hardness/")
        for name in members
    }
    answered = {verdict.question_id: verdict for verdict in reference}
    return {
        question.id: {
            "question": question.question,
            "database": question.db_name,
            "category": question.query_category,
            "hardness": levels.get(question.id),
            "gold": question.query,
            "sql": answered[question.id].sql,
            "verdict": answered[question.id].verdict,
            "reason": answered[question.id].reason,
        }
        for question in question_set.questions
        if question.id in wanted
    }
