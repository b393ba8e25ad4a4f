"""Verdicts from end to end, and the classic questions judged by their own golds."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.errors import EvaluationError
from workbench.evals import golds, sandbox
from workbench.evals.sql_accuracy import Extras, score_predictions
from workbench.evals.statistics import flips, summarize
from workbench.questions import load_question_set

DATA = Path(__file__).parents[2] / "../shared/data"
GOLD = "SELECT city, COUNT(*) FROM customer GROUP BY city ORDER BY 2 DESC, 1"


@pytest.mark.parametrize(
    ("answer", "verdict", "exact", "reason"),
    [
        (GOLD, "correct", True, ""),
        ("```sql\nSELECT city, COUNT(id) FROM customer GROUP BY 1\n```", "correct", True, ""),
        ("SELECT COUNT(*), city FROM customer GROUP BY city", "correct", False, "columns in another order"),
        ("SELECT city, COUNT(*), MIN(name) FROM customer GROUP BY city", "correct", False, "further columns"),
        ("SELECT city FROM customer GROUP BY city", "incorrect", False, "1 columns"),
        ("SELECT city, 1 FROM customer GROUP BY city", "incorrect", False, "values differ"),
        ("SELECT city, COUNT(*) FROM customer WHERE false GROUP BY city", "incorrect", False, "0 rows"),
        ("SELECT id, name FROM customer", "incorrect", False, "4 rows, the gold has 3"),
        ("SELECT a.id, b.id FROM customer AS a, customer AS b", "incorrect", False, "over 3 rows"),
        ("SELECT nothing FROM customer", "error", False, 'column "nothing" does not exist'),
        ("SELEC city", "rejected", False, "not a query"),
        ("SELECT city FROM customer WHERE (", "error", False, "syntax error"),
        ("SELECT city, COUNT(*) % 2 FROM customer WHERE name LIKE '%' GROUP BY 1", "incorrect", False, "values differ"),
        ("SELECT COUNT(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b", "error", False, "timeout"),
        ("DELETE FROM customer", "rejected", False, "not a query: DELETE"),
        ("I do not know", "rejected", False, "declines to answer"),
        ("SELECT 'I do not know' AS answer", "incorrect", False, "declines to answer"),
        ("", "rejected", False, "no SQL"),
    ],
)
def test_verdicts(ask, server, answer, verdict, exact, reason):
    (result,) = score_predictions(ask(GOLD), [answer], server, timeout_s=2)
    assert (result.verdict, result.exact) == (verdict, exact)
    assert reason in result.reason


def test_order_counts_only_where_it_is_asked_for(ask, server):
    answer = GOLD.replace("DESC", "ASC")
    verdicts = [score_predictions(ask(GOLD, ordered=flag), [answer], server)[0] for flag in (False, True)]
    assert [verdict.verdict for verdict in verdicts] == ["correct", "incorrect"]
    assert verdicts[1].reason == "right rows in the wrong order"


def test_any_alternative_will_do_and_the_best_one_counts(ask, server):
    gold = "SELECT {id, name} FROM customer; SELECT city FROM customer"
    answers = ["SELECT id FROM customer", "SELECT name, id FROM customer", "SELECT city FROM customer"]
    verdicts = score_predictions(ask(gold, gold, gold), answers, server)
    assert [verdict.verdict for verdict in verdicts] == ["correct"] * 3
    assert [verdict.exact for verdict in verdicts] == [True, False, True]


def test_a_limit_that_cuts_a_tie_is_fair(ask, server):
    gold = "SELECT name FROM customer ORDER BY joined LIMIT 2"
    answers = [f"SELECT name FROM customer WHERE name IN ('Ada', '{other}')" for other in ("Bob", "Cy", "Di")]
    verdicts = score_predictions(ask(gold, gold, gold), answers, server)
    assert [verdict.verdict for verdict in verdicts] == ["correct", "correct", "incorrect"]


def test_golds_run_once_for_all_artifacts(ask, server, monkeypatch):
    question_set = ask("SELECT id + 41 FROM customer")
    score_predictions(question_set, ["SELECT 1"], server)
    monkeypatch.setattr(golds, "_run", lambda *_: pytest.fail("the gold ran again"))
    score_predictions(question_set, ["SELECT 2"], server)


@pytest.fixture
def runs(monkeypatch):
    """The statements that are run on connections of their own."""
    told, plain = [], sandbox.run_once

    def run(conninfo, sql, **options):
        told.append(sql)
        return plain(conninfo, sql, **options)

    monkeypatch.setattr(sandbox, "run_once", run)
    return told


def test_an_answer_that_was_judged_before_is_not_run_again(ask, server, runs):
    questions = ask("SELECT id + 43 FROM customer", "SELECT COUNT(*) + 43 FROM customer")
    answers = ["SELECT 43 + id FROM customer", "SELECT 43 + COUNT(id) FROM customer"]
    first = score_predictions(questions, answers, server)
    assert [(one.verdict, one.chance_hit) for one in first] == [("correct", None), ("correct", False)]
    assert len(runs) > 2  # the second one on other rows too
    runs.clear()
    renumbered = replace(questions, questions=tuple(replace(one, id=f"{one.id}b") for one in questions.questions))
    again = score_predictions(renumbered, answers, server)
    assert runs == []
    assert again == [replace(one, question_id=f"{one.question_id}b") for one in first]
    score_predictions(questions, [answers[0], "SELECT 44"], server)
    assert runs == ["SELECT 44"]


def test_sharing_a_verdict_takes_the_same_question_and_rules(ask, server, runs):
    answer = "SELECT city FROM customer ORDER BY 1 DESC"
    gold = "SELECT city FROM customer ORDER BY 1"
    extras = Extras(second_copy=False, broadcasting=True)
    assert score_predictions(ask(gold), [answer], server)[0].verdict == "correct"
    assert score_predictions(ask(gold, ordered=True), [answer], server)[0].verdict == "incorrect"
    score_predictions(ask(gold), [answer], server, extras=extras)
    score_predictions(ask(gold), [answer], server, timeout_s=7)
    assert runs == [answer] * 4


def test_what_a_slow_machine_may_have_a_part_in_is_tried_again(ask, server, runs):
    slow = "SELECT COUNT(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
    answers = [slow, "SELECT nothing FROM customer"]
    for _ in range(2):
        verdicts = score_predictions(ask(GOLD, GOLD), answers, server, timeout_s=0.2)
        assert [one.verdict for one in verdicts] == ["error", "error"]
    assert sorted(runs) == sorted([slow, slow, answers[1]])


def test_progress_is_told_for_every_answer(ask, server):
    told = []
    score_predictions(ask(GOLD, GOLD), [GOLD, ""], server, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_wrong_numbers_of_answers_and_bad_golds_are_errors(ask, server):
    with pytest.raises(EvaluationError, match="1 answers for 2 questions"):
        score_predictions(ask(GOLD, GOLD), [GOLD], server)
    with pytest.raises(EvaluationError, match="question 1: correct its gold"):
        score_predictions(ask(GOLD, "SELECT x"), [GOLD, GOLD], server)


def test_weak_golds_are_listed(ask, server):
    questions = ask(GOLD, "SELECT COUNT(*) FROM customer")
    assert [one.weak for one in score_predictions(questions, ["", ""], server)] == ["", "single cell"]


@pytest.fixture(scope="module")
def defog():
    """sql-eval's 250 questions on the four databases at hand and, where the wheel is installed, its seven."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    sets = [load_question_set(path, DATA / "defog-data") for path in sorted((DATA / "sql-eval").glob("*.csv"))]
    questions = [question for one in sets for question in one.questions]
    if not importlib.util.find_spec("defog_data"):
        questions = [question for question in questions if (DATA / "defog-data" / question.db_name).is_dir()]
    numbered = (replace(question, id=str(number)) for number, question in enumerate(questions))
    return replace(sets[0], questions=tuple(numbered))


def test_every_gold_is_right_by_itself_and_select_1_is_not(defog, server):
    golden = [golds.expand(question.query)[-1] + ";\n```" for question in defog.questions]
    right = score_predictions(defog, golden, server)
    assert {(verdict.verdict, verdict.exact) for verdict in right} == {("correct", True)}
    wrong = score_predictions(defog, ["SELECT 'wrong' WHERE false"] * len(golden), server)
    assert not [verdict for verdict in wrong if verdict.verdict == "correct"]  # sql-eval lets an empty result pass
    assert flips(right, wrong).right_to_wrong == len(golden) in (60, 250)
    assert summarize(defog, right)[0].value == 1.0
