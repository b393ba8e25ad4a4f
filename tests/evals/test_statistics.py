"""Proportions, flips and what they prove."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import EvaluationError
from workbench.evals.sql_accuracy import Verdict
from workbench.evals.statistics import (
    detectable_difference,
    flips,
    loss_gate,
    mcnemar_exact,
    newcombe_interval,
    summarize,
)

COUNTS = st.integers(0, 60)


def verdicts(pattern):
    return [
        Verdict(str(at), "correct" if mark == "1" else "incorrect", False, "", "") for at, mark in enumerate(pattern)
    ]


def test_flips_count_pairs():
    result = flips(verdicts("1110011111"), verdicts("1001011110"))
    assert (result.right_to_wrong, result.wrong_to_right, result.questions) == (3, 1, 10)
    assert result.difference == pytest.approx(-0.2)
    assert result.mcnemar_p == pytest.approx(0.625)
    assert result.interval[0] < -0.2 < result.interval[1]
    assert "Newcombe" in result.method


def test_flips_pair_by_id_not_by_place():
    reference = verdicts("1100")
    assert flips(reference, reference[::-1]).right_to_wrong == 0


@pytest.mark.parametrize("other", ["", "111"])
def test_different_questions_cannot_be_compared(other):
    with pytest.raises(EvaluationError, match="different questions"):
        flips(verdicts(other), verdicts("11" if other else ""))


@pytest.mark.parametrize(
    ("table", "interval"),
    [((20, 2, 12, 16), (0.0562, 0.3292)), ((20, 12, 2, 16), (-0.3292, -0.0562)), ((36, 0, 0, 14), (-0.0491, 0.0491))],
)
def test_newcombe_intervals(table, interval):
    assert newcombe_interval(*table) == pytest.approx(interval, abs=5e-5)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_intervals_hold_the_difference_and_mirror(both, lost, gained, neither):
    total = both + lost + gained + neither
    if not total:
        return
    low, high = newcombe_interval(both, lost, gained, neither)
    assert -1 - 1e-9 <= low <= (gained - lost) / total + 1e-12
    assert (gained - lost) / total - 1e-12 <= high <= 1 + 1e-9
    assert newcombe_interval(both, gained, lost, neither) == pytest.approx((-high, -low))


@given(st.integers(0, 14), st.integers(0, 14))
def test_mcnemar_is_the_two_sided_binomial_test(lost, gained):
    """The share of all equally likely splits that are at least as uneven as this one."""
    total = lost + gained
    uneven = [count for count in range(total + 1) if abs(2 * count - total) >= abs(lost - gained)]
    assert mcnemar_exact(lost, gained) == pytest.approx(sum(math.comb(total, count) for count in uneven) / 2**total)


def test_what_a_number_of_questions_can_show():
    assert detectable_difference(175, 0.06) == pytest.approx(0.052, abs=5e-4)
    assert detectable_difference(464, 0.06) == pytest.approx(0.032, abs=5e-4)
    assert flips(verdicts("1" * 100), verdicts("1" * 94 + "0" * 6)).detectable == pytest.approx(
        detectable_difference(100, 0.06)
    )


def test_the_gate_has_three_answers():
    same = flips(verdicts("1" * 2000), verdicts("1" * 2000))
    worse = flips(verdicts("1" * 1000), verdicts("1" * 900 + "0" * 100))
    few = flips(verdicts("1" * 20), verdicts("1" * 19 + "0"))
    assert [loss_gate(each, 0.02) for each in (same, worse, few)] == ["proved", "refuted", "not enough questions"]


def test_summary_by_category_and_hardness(ask):
    question_set = ask("SELECT name FROM customer", "SELECT {id, name} FROM customer", "SELECT city, id FROM customer")
    scores = {score.name: score for score in summarize(question_set, verdicts("101"))}
    assert list(scores) == [
        "sql_accuracy",
        "sql_accuracy/category/group_by",
        "sql_accuracy/hardness/easy",
        "sql_accuracy/hardness/medium",
    ]
    assert (scores["sql_accuracy"].correct, scores["sql_accuracy"].total) == (2, 3)
    assert (scores["sql_accuracy/hardness/easy"].correct, scores["sql_accuracy/hardness/easy"].total) == (1, 2)
    assert math.isclose(scores["sql_accuracy/hardness/medium"].value, 1.0)


def test_a_gold_that_cannot_be_classed_is_counted_all_the_same(ask):
    scores = summarize(ask("SELECT FROM WHERE ("), verdicts("1"))
    assert [score.name for score in scores][-1] == "sql_accuracy/hardness/unknown"
