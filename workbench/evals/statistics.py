"""What the verdicts prove: proportions with intervals, and differences taken in pairs.

Two variants of a model answer the same questions, so they are compared question by question. Only the questions
on which they differ tell anything: ``right_to_wrong`` and ``wrong_to_right``. McNemar's exact test
asks whether that split could be a coin's; Newcombe's interval says how large the difference may be. The net
accuracy alone hides most of this: 5 to 14% of answers flip under a change of 2%.

Sources: Q. McNemar, Psychometrika 12 (1947); R. G. Newcombe, Statistics in Medicine 17 (1998) 2635, method 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.errors import EvaluationError
from workbench.evals.golds import expand
from workbench.evals.hardness import CLASSES, hardness
from workbench.evals.sql_accuracy import Verdict
from workbench.measure import Z_95, Score, wilson_interval
from workbench.questions import Question, QuestionSet

INTERVAL_METHOD = "Newcombe 1998, paired, method 10"
Z_POWER_80 = 0.8416212335729143  # the 80% quantile of the standard normal distribution


@dataclass(frozen=True)
class Flips:
    """A variant against its reference on the same questions.

    Attributes:
        questions: how many both answered.
        right_to_wrong: answers the variant lost.
        wrong_to_right: answers the variant gained.
        mcnemar_p: exact two-sided p of a split as uneven as this.
        difference: accuracy of the variant minus that of the reference.
        interval: 95% interval of the difference, as (low, high).
        method: of the interval.
    """

    questions: int
    right_to_wrong: int
    wrong_to_right: int
    mcnemar_p: float
    difference: float
    interval: tuple[float, float]
    method: str = INTERVAL_METHOD

    @property
    def detectable(self) -> float:
        """Smallest difference that as many questions, flipping as often, show at 5% in four runs of five."""
        flipped = self.right_to_wrong + self.wrong_to_right
        return detectable_difference(self.questions, flipped / self.questions)


def summarize(question_set: QuestionSet, verdicts: Sequence[Verdict]) -> list[Score]:
    """``sql_accuracy`` in all, then by category and by hardness (``sql_accuracy/category/date`` ...)."""
    questions = {question.id: question for question in question_set.questions}
    groups: dict[str, list[bool]] = {"sql_accuracy": []}
    by_hardness: dict[str, list[bool]] = {f"sql_accuracy/hardness/{name}": [] for name in CLASSES}
    for verdict in verdicts:
        question = questions[verdict.question_id]
        right = verdict.verdict == "correct"
        groups["sql_accuracy"].append(right)
        groups.setdefault(f"sql_accuracy/category/{question.query_category}", []).append(right)
        by_hardness.setdefault(f"sql_accuracy/hardness/{_level(question)}", []).append(right)
    categories = dict(sorted(groups.items()))
    return [Score(name, sum(rights), len(rights)) for name, rights in (categories | by_hardness).items() if rights]


def _level(question: Question) -> str:
    if question.hardness:
        return question.hardness
    try:
        return hardness(expand(question.query)[0])
    except (EvaluationError, IndexError):  # Postgres may know SQL that sqlglot does not
        return "unknown"


def flips(reference: Sequence[Verdict], variant: Sequence[Verdict]) -> Flips:
    """Compare two runs over the same questions, whatever their order.

    Raises:
        EvaluationError: the runs are empty or answered different questions.
    """
    before, after = _rights(reference), _rights(variant)
    if before.keys() != after.keys() or not before:
        raise EvaluationError("the two runs answered different questions; score both on one question set")
    pairs = [(before[name], after[name]) for name in before]
    lost, gained = pairs.count((True, False)), pairs.count((False, True))
    interval = newcombe_interval(pairs.count((True, True)), lost, gained, pairs.count((False, False)))
    return Flips(len(pairs), lost, gained, mcnemar_exact(lost, gained), (gained - lost) / len(pairs), interval)


def _rights(verdicts: Iterable[Verdict]) -> dict[str, bool]:
    return {verdict.question_id: verdict.verdict == "correct" for verdict in verdicts}


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact binomial p that ``lost`` and ``gained`` are one coin's heads and tails."""
    total = lost + gained
    tail = sum(math.comb(total, count) for count in range(min(lost, gained) + 1))
    return min(1.0, float(2 * tail / 2**total))


def newcombe_interval(both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    """95% interval of the paired difference variant - reference (Newcombe 1998, method 10).

    Wilson's limits of the two proportions are combined with their correlation phi, whose
    numerator is corrected for continuity.

    Args:
        both: questions both answered right.
        lost: right in the reference, wrong in the variant.
        gained: wrong in the reference, right in the variant.
        neither: questions both answered wrong.
    """
    total = both + lost + gained + neither
    variant, reference = both + gained, both + lost
    share, base = variant / total, reference / total
    low, high = wilson_interval(variant, total)
    base_low, base_high = wilson_interval(reference, total)
    phi = _phi(both, lost, gained, neither)
    below, above = share - low, high - share
    base_below, base_above = base - base_low, base_high - base
    down = math.sqrt(max(0.0, below**2 - 2 * phi * below * base_above + base_above**2))
    up = math.sqrt(max(0.0, above**2 - 2 * phi * above * base_below + base_below**2))
    return share - base - down, share - base + up


def _phi(both: int, lost: int, gained: int, neither: int) -> float:
    total = both + lost + gained + neither
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    product: float = both * neither - lost * gained
    if product > 0:
        product = max(0, 2 * product - total) / 2
    return product / math.sqrt(margins) if margins else 0.0


def detectable_difference(questions: int, discordance: float) -> float:
    """Smallest true difference a McNemar test at 5% finds with 80% power.

    Args:
        questions: number of questions both answer.
        discordance: share of them on which the two differ, e.g. 0.06.
    """
    return (Z_95 + Z_POWER_80) * math.sqrt(discordance / questions)


def loss_gate(result: Flips, max_loss: float) -> Literal["proved", "refuted", "not enough questions"]:
    """Whether the variant loses at most ``max_loss`` (0.02 is two points): the interval decides, or cannot."""
    low, high = result.interval
    if low >= -max_loss:
        return "proved"
    return "refuted" if high < -max_loss else "not enough questions"
