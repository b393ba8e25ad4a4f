from pathlib import Path

from workbench.evals.sql_accuracy import Verdict
from workbench.flipped import flipped_questions, with_answers
from workbench.questions import Question, QuestionSet

ASKED = QuestionSet(
    "heldout",
    (
        Question("0", "How many?", "SELECT count(*) FROM t", "shop", "count"),
        Question("1", "Which?", "SELECT name FROM t ORDER BY name LIMIT 1", "shop", "names", hardness="hard"),
        Question("2", "Who?", "SELECT a", "shop", "names"),
    ),
    Path("nowhere"),
)
REFERENCE = [
    Verdict("0", "correct", True, "", "SELECT count(*) FROM t"),
    Verdict("1", "incorrect", False, "2 rows instead of 1", "SELECT name FROM t"),
    Verdict("2", "correct", True, "", "SELECT a"),
]
OWN = [
    Verdict("0", "error", False, "no such column", "SELECT count(x) FROM t"),
    Verdict("1", "correct", True, "", "SELECT name FROM t LIMIT 1"),
    Verdict("2", "correct", True, "", "SELECT a"),
]


def test_each_flip_carries_the_artifacts_own_sql():
    flips = {"questions": 3, "flipped": [{"question_id": "1", "reference": "incorrect", "variant": "correct"}]}
    found = with_answers(flips, OWN)
    assert found["questions"] == 3
    assert found["flipped"] == [
        {
            "question_id": "1",
            "reference": "incorrect",
            "variant": "correct",
            "sql": "SELECT name FROM t LIMIT 1",
            "reason": "",
        }
    ]
    assert with_answers(None, OWN) is None


def test_a_flipped_question_is_told_once_with_the_references_answer():
    found = flipped_questions(ASKED, REFERENCE, ["1", "0", "1"])
    assert list(found) == ["0", "1"]
    assert found["1"] == {
        "question": "Which?",
        "database": "shop",
        "category": "names",
        "hardness": "hard",
        "gold": "SELECT name FROM t ORDER BY name LIMIT 1",
        "sql": "SELECT name FROM t",
        "verdict": "incorrect",
        "reason": "2 rows instead of 1",
    }
    assert found["0"]["hardness"] == "easy"  # by Spider's rules, for the file does not say
