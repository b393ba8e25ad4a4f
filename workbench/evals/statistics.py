"""What the verdicts prove: proportions with intervals, and differences taken in pairs.

Two variants of a model answer the same questions, so they are compared question by question. Only the questions
on which they differ tell anything: ``right_to_wrong`` and ``wrong_to_right``. McNemar's exact test
asks whether that split could be a coin's; Newcombe's interval says how large the difference may be. The net
accuracy alone hides most of this: 5 to 14% of answers flip under a change of 2%. The arithmetic is in
``workbench/evals/paired.py``.

    result = flips(of_fp16, of_int4)
    by_group = group_flips(question_set, of_fp16, of_int4)      # "category/date" ..., "hardness/easy" ...
    flipped(of_fp16, of_int4)                                   # which questions, and what became of each
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from workbench.errors import EvaluationError
from workbench.evals.golds import expand
from workbench.evals.hardness import CLASSES, hardness
from workbench.evals.paired import (
    INTERVAL_METHOD,
    Pairs,
    detectable_difference,
    mcnemar_exact,
    newcombe_interval,
)
from workbench.evals.sql_accuracy import Verdict
from workbench.measure import Score
from workbench.questions import QuestionSet
from workbench.report import REFUSALS


@dataclass(frozen=True)
class Flips:
    """A variant against its reference on the same questions.

    Attributes:
        questions: how many both answered.
        right_to_wrong: answers the variant lost.
        wrong_to_right: answers the variant gained.
        both_right: answers right in both.
        mcnemar_p: exact two-sided p of a split as uneven as this.
        difference: accuracy of the variant minus that of the reference.
        interval: two-sided 95% interval of the difference, as (low, high).
        detectable: smallest difference that as many questions, flipping as often, show at 5% in four runs of five.
        method: of the interval.
    """

    questions: int
    right_to_wrong: int
    wrong_to_right: int
    both_right: int
    mcnemar_p: float
    difference: float
    interval: tuple[float, float]
    detectable: float
    method: str = INTERVAL_METHOD

    @property
    def pairs(self) -> Pairs:
        """The four cells."""
        neither = self.questions - self.both_right - self.right_to_wrong - self.wrong_to_right
        return Pairs(self.both_right, self.right_to_wrong, self.wrong_to_right, neither)


@dataclass(frozen=True)
class Flipped:
    """One question answered right by one of the two only.

    Attributes:
        question_id: of ``Question.id``.
        reference: the reference's verdict.
        variant: the variant's.
    """

    question_id: str
    reference: str
    variant: str


def summarize(question_set: QuestionSet, verdicts: Sequence[Verdict]) -> list[Score]:
    """``sql_accuracy`` in all, then by category and by hardness (``sql_accuracy/category/date`` ...).

    Then ``defog_accuracy`` and ``defog_exact`` over the same questions: sql-eval's ``correct`` and ``exact_match``,
    where the verdicts hold them. Questions that cannot be answered stand apart, as ``refusals``: how many of them
    were declined.
    """
    apart = {
        "defog_accuracy": _defog_rights(verdicts, "defog_correct"),
        "defog_exact": _defog_rights(verdicts, "defog_exact"),
        REFUSALS: {one.question_id: one.verdict == "correct" for one in verdicts if not one.answerable},
    }
    found = _by_group("sql_accuracy", question_set, _rights(verdicts))
    return found + [_share(name, rights) for name, rights in apart.items() if rights]


def defog_scores(question_set: QuestionSet, verdicts: Sequence[Verdict]) -> list[Score]:
    """``defog_accuracy``, sql-eval's ``correct``, in all and by group as above; empty where it was not looked at."""
    return _by_group("defog_accuracy", question_set, _defog_rights(verdicts, "defog_correct"))


def _defog_rights(verdicts: Sequence[Verdict], which: Literal["defog_correct", "defog_exact"]) -> dict[str, bool]:
    found = {one.question_id: getattr(one, which) for one in verdicts if one.answerable}
    return {name: right for name, right in found.items() if right is not None}


def _by_group(name: str, question_set: QuestionSet, rights: Mapping[str, bool]) -> list[Score]:
    """The share of right answers, then that of each group; empty for no answers."""
    groups = question_groups(question_set, rights).items()
    parts = [_share(f"{name}/{group}", {one: rights[one] for one in ids}) for group, ids in groups]
    return [_share(name, rights), *parts] if rights else []


def _share(name: str, rights: Mapping[str, bool]) -> Score:
    return Score(name, sum(rights.values()), len(rights))


def question_groups(question_set: QuestionSet, asked: Iterable[str]) -> dict[str, list[str]]:
    """Question ids by ``category/...`` in alphabetical order, then by ``hardness/...`` from easy to extra.

    Args:
        question_set: knows categories and golds.
        asked: ids of the questions that count.
    """
    questions = {question.id: question for question in question_set.questions}
    categories: dict[str, list[str]] = {}
    levels: dict[str, list[str]] = {f"hardness/{name}": [] for name in CLASSES}
    for one in asked:
        question = questions[one]
        categories.setdefault(f"category/{question.query_category}", []).append(one)
        levels.setdefault(f"hardness/{question.hardness or _level(question.query)}", []).append(one)
    return {name: ids for name, ids in (dict(sorted(categories.items())) | levels).items() if ids}


@lru_cache(maxsize=4096)  # every table of every artifact asks it of the same golds, and parsing takes a millisecond
def _level(gold: str) -> str:
    try:
        return hardness(expand(gold)[0])
    except (EvaluationError, IndexError):  # Postgres may know SQL that sqlglot does not
        return "unknown"


def flips(reference: Sequence[Verdict], variant: Sequence[Verdict]) -> Flips:
    """Compare two runs over the same questions, whatever their order.

    Raises:
        EvaluationError: the runs are empty or answered different questions.
    """
    before, after = _paired(reference, variant)
    return _flips(before, after, list(before))


def group_flips(
    question_set: QuestionSet, reference: Sequence[Verdict], variant: Sequence[Verdict]
) -> dict[str, Flips]:
    """The same by category and by hardness.

    Raises:
        EvaluationError: the runs are empty or answered different questions.
    """
    before, after = _paired(reference, variant)
    return {name: _flips(before, after, ids) for name, ids in question_groups(question_set, before).items()}


def flipped(reference: Sequence[Verdict], variant: Sequence[Verdict]) -> list[Flipped]:
    """The questions one of the two answered right, in the reference's order.

    Raises:
        EvaluationError: the runs are empty or answered different questions.
    """
    before, after = _paired(reference, variant)
    named = {verdict.question_id: verdict.verdict for verdict in variant}
    return [
        Flipped(verdict.question_id, verdict.verdict, named[verdict.question_id])
        for verdict in reference
        if before.get(verdict.question_id) != after.get(verdict.question_id)
    ]


def _paired(reference: Sequence[Verdict], variant: Sequence[Verdict]) -> tuple[dict[str, bool], dict[str, bool]]:
    before, after = _rights(reference), _rights(variant)
    if before.keys() != after.keys() or not before:
        raise EvaluationError("the two runs answered different questions; score both on one question set")
    return before, after


def _flips(before: dict[str, bool], after: dict[str, bool], ids: Sequence[str]) -> Flips:
    cells = [(before[one], after[one]) for one in ids]
    pairs = Pairs(*(cells.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))))
    return Flips(
        questions=pairs.total,
        right_to_wrong=pairs.lost,
        wrong_to_right=pairs.gained,
        both_right=pairs.both,
        mcnemar_p=mcnemar_exact(pairs.lost, pairs.gained),
        difference=pairs.difference,
        interval=newcombe_interval(*pairs),
        detectable=detectable_difference(pairs.total, (pairs.lost + pairs.gained) / pairs.total),
    )


def _rights(verdicts: Iterable[Verdict]) -> dict[str, bool]:
    """Which answers are right, of the questions that can be answered."""
    return {verdict.question_id: verdict.verdict == "correct" for verdict in verdicts if verdict.answerable}
