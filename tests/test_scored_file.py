"""Files of answers against question sets: the figures, what does not fit, and sql-eval's own results."""

import csv
import json

import pytest

from workbench.errors import WorkbenchError
from workbench.evals.sql_accuracy import Verdict
from workbench.predictions import Prediction, read_predictions, write_predictions
from workbench.questions import Question, QuestionSet
from workbench.scored_file import (
    AnsweredSet,
    ScoredSet,
    ScoreRequest,
    answered_sets,
    legend,
    record,
    score_table,
    set_record,
)

HEADER = "question,query,db_name,query_category,hardness\n"


@pytest.fixture
def csv_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(HEADER + 'Which a?,SELECT a FROM t,db,where,easy\nWhich b?,SELECT b FROM t,db,"group_by",hard\n')
    return path


def answered(csv_file, *predictions, reference=()):
    for name, lines in (("p.jsonl", predictions), ("r.jsonl", reference)):
        write_predictions(csv_file.with_name(name), lines)
    request = ScoreRequest(
        csv_file.with_name("p.jsonl"), csv_file.with_name("r.jsonl") if reference else None, (csv_file,)
    )
    return answered_sets(request)


def test_answers_are_put_in_the_questions_order(csv_file):
    (one,) = answered(csv_file, Prediction("mine", "1", "second"), Prediction("", "0", "first"))
    assert [answer.text for answer in one.answers] == ["first", "second"]
    assert one.reference is None


def test_the_older_builds_files_are_read(csv_file):
    path = csv_file.with_name("old.jsonl")
    path.write_text("".join(json.dumps({"id": n, "answer": f"SELECT {n}", "verdict": "error"}) + "\n" for n in "01"))
    (one,) = answered_sets(ScoreRequest(path, questions=(csv_file,)))
    assert [answer.text for answer in one.answers] == ["SELECT 0", "SELECT 1"]


def test_sql_evals_own_results_are_read(csv_file):
    path = csv_file.with_name("result.csv")
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["question", "db_name", "generated_query", "correct"])
        writer.writeheader()
        writer.writerow({"question": "Which b?", "db_name": "db", "generated_query": "SELECT b\nFROM t", "correct": 1})
        writer.writerow({"question": "Which a?", "db_name": "db", "generated_query": "SELECT a", "correct": 0})
    (one,) = answered_sets(ScoreRequest(path, questions=(csv_file,)))
    assert [answer.text for answer in one.answers] == ["SELECT a", "SELECT b\nFROM t"]


def test_bundled_sets_are_found_by_their_names(tmp_path):
    write_predictions(tmp_path / "p.jsonl", [Prediction("heldout", str(n), "SELECT 1") for n in range(336)])
    (one,) = answered_sets(ScoreRequest(tmp_path / "p.jsonl"))
    assert one.question_set.name == "heldout"


BOTH = (Prediction("mine", "0", "a"), Prediction("mine", "1", "b"))


@pytest.mark.parametrize(
    ("predictions", "reference", "message"),
    [
        (BOTH[:1], (), "no answer to 1 of 2 questions of mine: 1;"),
        ((*BOTH, Prediction("mine", "7", "c")), (), "does not hold: 7"),
        (BOTH, BOTH[:1], "no answer to 1 of 2"),
        ([Prediction("other", "0", "a")], (), r"p.jsonl answers other, not mine"),
        (
            [BOTH[0], Prediction("mine", "1", "", error="HTTP 500")],
            (),
            r"\(mine\) holds no answer to 1 questions.*HTTP 500",
        ),
    ],
)
def test_what_does_not_fit_is_told(csv_file, predictions, reference, message):
    with pytest.raises(WorkbenchError, match=message):
        answered(csv_file, *predictions, reference=reference)


def test_an_empty_reference_is_not_passed_over(csv_file):
    write_predictions(csv_file.with_name("p.jsonl"), BOTH)
    csv_file.with_name("r.jsonl").write_text("")
    with pytest.raises(WorkbenchError, match="no answer to 2 of 2"):
        answered_sets(ScoreRequest(csv_file.with_name("p.jsonl"), csv_file.with_name("r.jsonl"), (csv_file,)))


def test_answers_that_name_no_set_need_questions(tmp_path):
    write_predictions(tmp_path / "p.jsonl", [Prediction("", "0", "SELECT 1")])
    with pytest.raises(WorkbenchError, match="give --questions"):
        answered_sets(ScoreRequest(tmp_path / "p.jsonl"))


def scored(names, before=None, defog=None, answerable=(True, True, True, True)):
    questions = tuple(
        Question(str(n), f"q{n}?", "SELECT 1", "db", "where" if n % 2 else "date", "easy", answerable=answerable[n])
        for n in range(4)
    )

    def verdicts(which, defog=None):
        return [
            Verdict(
                str(n), name, name == "correct", "", "SELECT 1", weak="single cell" if n == 0 else "",
                defog_correct=defog and defog[n], chance_hit=(n == 0) or None, answerable=answerable[n],
            )
            for n, name in enumerate(which)
        ]  # fmt: skip

    class Set(QuestionSet):
        digest = "digest"  # its databases are not needed here

    answers = [Prediction("", "", "SELECT 1 ```") for _ in names]
    one = Set("mine", questions, ())
    return ScoredSet(AnsweredSet(one, answers), verdicts(names, defog), before and verdicts(before))


MIXED = ("correct", "error", "incorrect", "correct")


def test_the_record_holds_all_figures(tmp_path):
    one = scored(MIXED, before=("correct", "correct", "incorrect", "incorrect"), defog=(True, True, False, True))
    found = record(ScoreRequest(tmp_path / "p", tmp_path / "r"), [one])
    json.dumps(found)
    (values,) = found["sets"]
    first = values["scores"][0]
    assert (first["name"], first["correct"], first["total"]) == ("sql_accuracy", 2, 4)
    # scipy.stats.binomtest(2, 4).proportion_ci(method="wilson")
    assert first["interval_95"] == pytest.approx([0.15003898915214947, 0.8499610108478506])
    assert (values["defog_scores"][0]["name"], values["defog_scores"][0]["correct"]) == ("defog_accuracy", 3)
    assert values["verdicts"] == {"correct": 2, "error": 1, "incorrect": 1}
    assert (values["exact"], values["weak_golds"], values["chance_hits"]) == (2, {"single cell": ["0"]}, ["0"])
    assert (values["flips"]["right_to_wrong"], values["flips"]["wrong_to_right"]) == (1, 1)
    assert [one["question_id"] for one in values["flips"]["flipped"]] == ["1", "3"]


def test_without_reference_and_sql_evals_rules_their_columns_are_left_out():
    table = score_table(scored(MIXED))
    assert table.header == ("questions", "number", "right")
    assert table.rows[0] == ("all", "4", "50.0% [15.0, 85.0]")
    assert set_record(scored(MIXED))["defog_scores"] == []
    assert legend(scored(MIXED)).startswith("2 correct, 1 error, 1 incorrect; 2 with the gold's columns exactly.")


def test_the_table_shows_both_scores_and_the_flips():
    one = scored(MIXED, before=("correct", "correct", "incorrect", "incorrect"), defog=(True, True, False, True))
    table = score_table(one)
    assert table.header == ("questions", "number", "right", "by sql-eval's rules", "flips")
    assert table.rows[0] == ("all", "4", "50.0% [15.0, 85.0]", "75.0% [30.1, 95.4]", "-1 +1")
    assert [row[0] for row in table.rows[1:]] == ["category/date", "category/where", "hardness/easy"]
    assert table.rows[2][-1] == "-1 +1"
    assert "1 answers lost, 1 gained, difference +0.0 points" in legend(one)
    assert "1 single cell; 1 matched by chance, as other rows show." in legend(one)


def test_refusals_stand_apart():
    one = scored(MIXED, defog=(True, True, False, True), answerable=(True, True, True, False))
    assert score_table(one).rows[-1][:2] == ("refusals", "1")
    first = set_record(one)["defog_scores"][0]
    assert (first["correct"], first["total"]) == (2, 3)


def test_judged_predictions_are_a_file_of_their_own(tmp_path):
    write_predictions(tmp_path / "judged.jsonl", scored(MIXED).judged())
    read = read_predictions(tmp_path / "judged.jsonl")
    assert [(one.question_set, one.question_id) for one in read] == [("mine", str(n)) for n in range(4)]
    assert [one.further["verdict"] for one in read] == list(MIXED)
