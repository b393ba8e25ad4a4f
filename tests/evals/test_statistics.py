"""Proportions, flips and what they prove."""

import math

import pytest

from workbench.errors import EvaluationError
from workbench.evals.paired import Pairs, detectable_difference, newcombe_interval
from workbench.evals.sql_accuracy import Verdict
from workbench.evals.statistics import Flipped, flipped, flips, group_flips, summarize


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


def test_flips_keep_the_four_cells():
    result = flips(verdicts("1110011100"), verdicts("1001011100"))
    assert result.pairs == Pairs(4, 2, 1, 3)
    assert result.interval == newcombe_interval(4, 2, 1, 3)
    assert result.detectable == detectable_difference(10, 0.3)


def test_flips_by_category_and_hardness_add_up(ask):
    question_set = ask("SELECT name FROM customer", "SELECT {id, name} FROM customer", "SELECT city, id FROM customer")
    reference, variant = verdicts("110"), verdicts("101")
    groups = group_flips(question_set, reference, variant)
    assert list(groups) == ["category/group_by", "hardness/easy", "hardness/medium"]
    assert groups["category/group_by"] == flips(reference, variant)
    for kind in ("category", "hardness"):
        found = [one for name, one in groups.items() if name.startswith(kind)]
        assert sum(one.right_to_wrong for one in found) == 1
        assert sum(one.wrong_to_right for one in found) == 1


def test_which_questions_flipped_and_how():
    reference, variant = verdicts("1101"), verdicts("1011")
    assert flipped(reference, variant[::-1]) == [
        Flipped("1", "correct", "incorrect"),
        Flipped("2", "incorrect", "correct"),
    ]
    assert flipped(reference, reference) == []


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
