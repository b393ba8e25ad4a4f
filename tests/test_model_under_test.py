"""Answers kept as they come: nothing is asked twice, nothing is mixed, and the finished file is in order."""

import json

import pytest

from workbench.errors import WorkbenchError
from workbench.model_under_test import Failure, ModelUnderTest, answers_of, asked_of
from workbench.predictions import Prediction, digest_of, read_predictions, write_predictions
from workbench.progress import SILENT
from workbench.prompt import NANO, V3
from workbench.questions import Question, QuestionSet
from workbench.runtimes.base import Decoding, Generation

GREEDY = Decoding(("```",), 300)


class Model(ModelUnderTest):
    """Answers with the length of the prompt, backwards; what ``fates`` holds for a place happens instead."""

    def __init__(self, **fates):
        self.name, self.engine, self.prompt = "m", "e 1", NANO
        self.fates = {int(place.removeprefix("at")): fate for place, fate in fates.items()}
        self.prompts = []

    def answer(self, prompts, decoding, tell, listener):
        self.prompts = list(prompts)
        for place in reversed(range(len(prompts))):
            fate = self.fates.get(place, Generation(f"SELECT {len(prompts[place])}", 1, 2, True, (place,)))
            if isinstance(fate, BaseException):
                raise fate
            tell(place, fate)


@pytest.fixture
def sets(tmp_path):
    folder = tmp_path / "databases" / "db"
    folder.mkdir(parents=True)
    (folder / "schema.sql").write_text("CREATE TABLE t (a int);")
    (folder / "rows.sql").write_text("")

    def questions(name, count):
        every = tuple(Question(str(n), f"{name}{n}?" + "x" * n, "SELECT 1", "db", "where") for n in range(count))
        return QuestionSet(name, every, tmp_path / "databases")

    return [questions("first", 3), questions("second", 2)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "predictions.jsonl"


def run(model, sets, path, decoding=GREEDY):
    return answers_of(model, asked_of(model, sets), decoding, path, SILENT)


def test_answers_come_in_order_and_so_does_the_file(sets, path):
    told = run(Model(), sets, path)
    assert [[one.question_id for one in own] for own in told] == [["0", "1", "2"], ["0", "1"]]
    assert [(one.question_set, one.question_id) for one in read_predictions(path)] == [
        ("first", "0"), ("first", "1"), ("first", "2"), ("second", "0"), ("second", "1"),
    ]  # fmt: skip
    one = told[0][1]
    prompt = NANO.render("CREATE TABLE t (a int);", "first1?x")
    assert one.text == f"SELECT {len(prompt)}"
    assert (one.prompt_sha256, one.tokens, one.model, one.engine, one.beams) == (digest_of(prompt), (1,), "m", "e 1", 1)
    assert one.further == {"prompt": "nano", "max_new_tokens": 300, "finished": True}


def test_nothing_is_asked_twice(sets, path):
    first = run(Model(), sets, path)
    again = Model()
    assert run(again, sets, path) == first
    assert again.prompts == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), WorkbenchError("the server is gone")])
def test_a_run_that_was_stopped_is_gone_on_with(sets, path, stop):
    with pytest.raises(type(stop)):
        run(Model(at1=stop), sets, path)
    assert len(read_predictions(path)) == 3
    path.write_bytes(
        path.read_bytes() + b'{"question_set": "first", "quest'
    )  # as a kill in the middle of a line leaves
    again = Model()
    told = run(again, sets, path)
    assert [len(own) for own in told] == [3, 2]
    assert [prompt.partition("### Question\n")[2].partition("\n")[0] for prompt in again.prompts] == [
        "first0?",
        "first1?x",
    ]


def test_what_is_kept_is_said(sets, path):
    with pytest.raises(
        WorkbenchError, match=r"^gone; 3 of 5 answers are kept in .*predictions.jsonl, the same command"
    ):
        run(Model(at1=WorkbenchError("gone")), sets, path)


def test_a_first_failure_is_said_as_it_is(sets, path):
    with pytest.raises(WorkbenchError, match=r"^no such model$"):
        run(Model(at4=WorkbenchError("no such model")), sets, path)


def test_a_question_without_an_answer_is_asked_again(sets, path):
    with pytest.raises(WorkbenchError, match=r"1 of 5 questions got no answer \(the first: HTTP 500\); the others are"):
        run(Model(at3=Failure("HTTP 500")), sets, path)
    again = Model()
    told = run(again, sets, path)
    assert len(again.prompts) == 1
    assert told[1][0].text.startswith("SELECT")


def test_a_refused_question_has_an_empty_answer(sets, path):
    told = run(Model(at3=Failure("HTTP 400: too long", refused=True)), sets, path)
    assert (told[1][0].text, told[1][0].error) == ("", None)
    assert told[1][0].further["refused"] == "HTTP 400: too long"


def test_a_limit_keeps_the_other_answers(sets, path):
    run(Model(), sets, path)
    again = Model()
    told = run(again, [sets[0].thinned(1)], path)
    assert [len(own) for own in told] == [1]
    assert len(read_predictions(path)) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "n"}, "model 'm' instead of 'n'"),
        ({"engine": "e 2"}, "engine 'e 1' instead of 'e 2'"),
        ({"weights": lambda: {"build_key": "b"}}, "build_key None instead of 'b'"),
    ],
)
def test_two_models_answers_are_never_mixed(sets, path, change, words):
    run(Model(), sets, path)
    other = Model()
    for name, value in change.items():
        setattr(other, name, value)
    with pytest.raises(WorkbenchError, match=words):
        run(other, sets, path)


@pytest.mark.parametrize("decoding", [Decoding(("```",), 300, beams=4), Decoding(("```",), 200)])
def test_two_searches_answers_are_never_mixed(sets, path, decoding):
    run(Model(), sets, path)
    with pytest.raises(WorkbenchError, match="holds other answers"):
        run(Model(), sets, path, decoding)


def test_another_prompt_or_schema_is_never_mixed(sets, path, tmp_path):
    run(Model(), sets, path)
    other = Model()
    other.prompt = V3
    with pytest.raises(WorkbenchError, match="another prompt or schema"):
        run(other, sets, path)
    (tmp_path / "databases" / "db" / "schema.sql").write_text("CREATE TABLE t (b int);")
    with pytest.raises(WorkbenchError, match="3 of 3 answers to first were asked with another prompt or schema"):
        run(Model(), sets, path)


def test_other_lines_of_the_file_stay(sets, path):
    other = Prediction("third", "0", "SELECT 3", model="m", engine="e 1", beams=1, further={"max_new_tokens": 300})
    write_predictions(path, [other])
    run(Model(), sets, path)
    assert json.loads(path.read_text().splitlines()[-1])["question_set"] == "third"
