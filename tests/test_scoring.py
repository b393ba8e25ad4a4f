import json

import pytest

from workbench.errors import StorageError
from workbench.evals.sql_accuracy import Verdict
from workbench.questions import Question, QuestionSet
from workbench.scoring import set_scores, write_predictions

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


def test_predictions_are_one_json_line_each(asked, tmp_path):
    path = tmp_path / "new" / "p.jsonl"
    write_predictions(path, asked, ["SELECT 'é'\n```"] * 4, verdicts(*["correct"] * 4))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == ["0", "1", "2", "3"]
    assert lines[0]["answer"] == "SELECT 'é'\n```"
    assert lines[0]["verdict"] == "correct"


def test_predictions_that_cannot_be_written_are_a_storage_error(asked, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_predictions(tmp_path / "file" / "p.jsonl", asked, [""] * 4, verdicts(*["correct"] * 4))
