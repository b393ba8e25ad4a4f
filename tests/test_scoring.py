import pytest

from workbench.evals.sql_accuracy import Verdict
from workbench.predictions import Prediction
from workbench.questions import Question, QuestionSet
from workbench.scoring import judged_predictions, set_scores, with_unasked

QUESTIONS = tuple(Question(str(n), f"q{n}?", "SELECT 1", "db", "where", "easy") for n in range(4))


@pytest.fixture
def asked(tmp_path):
    return QuestionSet("mine", QUESTIONS, tmp_path)


def verdicts(*names):
    return [Verdict(str(n), name, name == "correct", "", "SELECT 1") for n, name in enumerate(names)]


def test_verdicts_are_counted_and_scored(asked):
    scored = set_scores(asked, verdicts("correct", "correct", "error", "rejected"), None)
    assert (scored.overall.correct, scored.overall.total) == (2, 4)
    assert scored.verdicts == {"correct": 2, "error": 1, "rejected": 1}
    assert scored.flips is None


def test_flips_are_counted_against_the_reference(asked):
    reference = verdicts("correct", "correct", "incorrect", "correct")
    flips = set_scores(asked, verdicts("correct", "incorrect", "correct", "incorrect"), reference).flips
    assert (flips["right_to_wrong"], flips["wrong_to_right"]) == (2, 1)
    assert flips["mcnemar_p"] == 1.0
    assert flips["difference"] == -0.25


def test_what_could_not_be_asked_is_an_error():
    found = with_unasked(verdicts("rejected", "correct"), ["too long: 3 tokens more", ""])
    assert [(one.verdict, one.reason) for one in found] == [("error", "too long: 3 tokens more"), ("correct", "")]


def test_predictions_carry_their_verdicts(asked):
    told = [Prediction("mine", str(n), "SELECT 1 ```", tokens=(1, n), further={"note": "kept"}) for n in range(4)]
    judged = judged_predictions(asked, told, verdicts("correct", "error", "rejected", "incorrect"))
    assert [one.further["verdict"] for one in judged] == ["correct", "error", "rejected", "incorrect"]
    assert (judged[1].text, judged[1].tokens) == ("SELECT 1 ```", (1, 1))
    assert judged[0].further == {
        "note": "kept", "db_name": "db", "question": "q0?", "gold": "SELECT 1", "sql": "SELECT 1",
        "verdict": "correct", "exact": True, "reason": "",
    }  # fmt: skip
