"""Answers of a reference from elsewhere: to these very questions, all of them, or refused in one sentence."""

import pytest

from workbench.errors import ConfigError, WorkbenchError
from workbench.predictions import Prediction, digest_of, write_predictions
from workbench.questions import Question, QuestionSet
from workbench.reference_file import read_reference


@pytest.fixture
def sets(tmp_path):
    return [
        QuestionSet(
            name, tuple(Question(str(n), f"{name} {n}?", "SELECT 1", "db", "where") for n in range(3)), tmp_path
        )
        for name in ("heldout", "unseen")
    ]


def shown(sets):
    return [[f"schema\n{question.question}" for question in one.questions] for one in sets]


def answers(name, *ids, **changes):
    return [
        Prediction(**{"question_set": name, "question_id": str(n), "text": f"SELECT {n}",
                      "prompt_sha256": digest_of(f"schema\n{name} {n}?"), **changes})
        for n in ids
    ]  # fmt: skip


def read(tmp_path, sets, *files):
    paths = []
    for at, predictions in enumerate(files):
        paths.append(tmp_path / f"{at}.jsonl")
        write_predictions(paths[-1], predictions)
    return read_reference(paths, sets, shown(sets))


def test_answers_come_in_the_order_of_the_questions(tmp_path, sets):
    given = read(tmp_path, sets, [*answers("unseen", 2, 0, 1), *answers("heldout", 1, 0, 2)])
    assert given.answers == [["SELECT 0", "SELECT 1", "SELECT 2"]] * 2
    assert (given.name, given.on_trust) == ("0.jsonl", 0)


def test_a_file_per_set_as_a_build_leaves_them(tmp_path, sets):
    given = read(tmp_path, sets, answers("heldout", 0, 1, 2), answers("unseen", 0, 1, 2))
    assert None not in given.answers
    assert given.name == "0.jsonl and 1.jsonl"


def test_answers_of_another_search_are_refused(tmp_path, sets):
    assert read(tmp_path, sets, answers("heldout", 0, 1, 2, beams=1)).answers
    with pytest.raises(WorkbenchError, match="found with --beams 4, this build asks for --beams 1"):
        read(tmp_path, sets, answers("heldout", 0, 1, 2, beams=4))
    assert read_reference([tmp_path / "0.jsonl"], sets, shown(sets), beams=4).answers


def test_a_further_set_may_be_missing_the_first_may_not(tmp_path, sets):
    assert read(tmp_path, sets, answers("heldout", 0, 1, 2)).answers == [["SELECT 0", "SELECT 1", "SELECT 2"], None]
    with pytest.raises(WorkbenchError, match=r"--reference 0\.jsonl: .*no answer to 3 of 3 questions of heldout"):
        read(tmp_path, sets, answers("unseen", 0, 1, 2))
    with pytest.raises(WorkbenchError, match="no answer to 1 of 3 questions of unseen"):
        read(tmp_path, sets, [*answers("heldout", 0, 1, 2), *answers("unseen", 0, 1)])


def test_more_answers_than_are_asked_for_do_no_harm(tmp_path, sets):
    given = read(tmp_path, [one.thinned(1) for one in sets], answers("heldout", 0, 1, 2))
    assert given.answers == [["SELECT 0"], None]


def test_another_prompt_is_refused(tmp_path, sets):
    with pytest.raises(WorkbenchError, match="3 of 3 answers to heldout were asked with another prompt or schema"):
        read(tmp_path, sets, answers("heldout", 0, 1, 2, prompt_sha256="0" * 64))


def test_answers_without_digests_are_taken_on_trust_and_counted(tmp_path, sets):
    assert read(tmp_path, sets, answers("", 0, 1, 2, prompt_sha256="")).on_trust == 3


def test_questions_that_got_an_error_are_to_be_asked_again(tmp_path, sets):
    failed = answers("heldout", 2, text="", error="timed out")
    with pytest.raises(WorkbenchError, match=r"no answer to 1 questions.*\(2; .*timed out\); ask these again"):
        read(tmp_path, sets, [*answers("heldout", 0, 1), *failed])


def test_what_is_no_file_of_answers(tmp_path, sets):
    with pytest.raises(WorkbenchError, match="correct the path"):
        read_reference([tmp_path / "nowhere.jsonl"], sets, shown(sets))
    (tmp_path / "x.jsonl").write_text("{}\n[]\n")
    with pytest.raises(ConfigError, match="3 faults"):
        read_reference([tmp_path / "x.jsonl"], sets, shown(sets))


def test_the_digest_is_of_the_contents(tmp_path, sets):
    first = read(tmp_path, sets, answers("heldout", 0, 1, 2)).digest
    assert read(tmp_path, sets, answers("heldout", 0, 1, 2)).digest == first
    assert read(tmp_path, sets, answers("heldout", 2, 0, 1)).digest != first
