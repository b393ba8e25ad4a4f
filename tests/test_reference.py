"""The second run of the reference, and what is said where it cannot be had.

The build around it is a stand-in: which answers differ between two runs cannot be arranged with a real engine.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from workbench import reference
from workbench.errors import WorkbenchError
from workbench.evals.sql_accuracy import Verdict
from workbench.progress import Listener
from workbench.questions import Question, QuestionSet
from workbench.reference import SECOND_RUN_ROWS, find_reference, noise_floor, run_again
from workbench.trial import TrialResult, TrialTask

RIGHT, WRONG = "SELECT 1", "SELECT 2"


class Ear(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def row(name: str, weights: str) -> SimpleNamespace:
    return SimpleNamespace(recipe=SimpleNamespace(name=name, format=weights))


def answered(*texts: str) -> TrialResult:
    return TrialResult(list(texts), [1] * len(texts), 0, 1.0, 1.0)


def verdicts(texts) -> list[Verdict]:
    return [
        Verdict(str(at), "correct" if text == RIGHT else "incorrect", False, "", text) for at, text in enumerate(texts)
    ]


@pytest.fixture
def work(tmp_path):
    asked = QuestionSet("mine", tuple(Question(str(n), f"q{n}?", RIGHT, "db", "where") for n in range(4)), tmp_path)
    return SimpleNamespace(
        plan=SimpleNamespace(chosen=[row("q4", "gguf"), row("fp16", "fp16")]),
        sets=[asked],
        shown=[["a", "b", "c", "d"]],
        listener=Ear(),
        given_reference=None,
        task=lambda planned: TrialTask("x", "mock", "cpu", 64, 1, ["a", "b", "c", "d", "e"], [], 8, timed_prompt="a"),
    )


@pytest.fixture
def made():
    one = SimpleNamespace(artifact=SimpleNamespace(manifest=SimpleNamespace(build_key="key")))
    return {"q4": one, "fp16": one}


@pytest.fixture
def trials():
    return {"q4": answered(*[WRONG] * 5), "fp16": answered(RIGHT, RIGHT, WRONG, WRONG, "of another set")}


@pytest.fixture
def scores(monkeypatch):
    """Scoring needs a server only to tell right from wrong."""
    monkeypatch.setattr(reference, "score_texts", lambda work, name, sets, answers, server: [verdicts(answers)])


def test_the_second_run_asks_the_first_set_in_other_batches_and_times_nothing(work, made, trials, monkeypatch):
    seen = []
    monkeypatch.setattr(reference, "run_task", lambda work, planned, artifact, task, what: seen.append((planned, task)))
    run_again(work, made, trials)
    ((planned, task),) = seen
    assert planned.recipe.name == "fp16"
    assert task.prompts == ["a", "b", "c", "d"]
    assert (task.most_rows, task.timed_prompt, task.golden) == (SECOND_RUN_ROWS, None, [])


def test_nothing_is_run_twice_where_nothing_is_compared(work, made, trials):
    work.plan.chosen = [row("fp16", "fp16")]
    assert run_again(work, made, trials) is None
    work.plan.chosen = [row("q4", "gguf"), row("q8", "gguf")]
    assert run_again(work, made, trials) is None
    work.plan.chosen = [row("q4", "gguf"), row("fp16", "fp16")]
    assert run_again(work, made, {**trials, "fp16": WorkbenchError("died")}) is None


def test_a_second_run_that_fails_is_a_line_and_no_more(work, made, trials, monkeypatch):
    def fail(*_):
        raise WorkbenchError("the engine died")

    monkeypatch.setattr(reference, "run_task", fail)
    assert run_again(work, made, trials) is None
    assert work.listener.notes == ["failed, so the noise is not known: the engine died"]
    assert noise_floor(work, trials, None, {}, None) == {}


@pytest.mark.usefixtures("scores")
def test_what_differs_between_two_runs_is_counted(work, trials):
    first = {"fp16": [verdicts(trials["fp16"].answers[:4])]}
    again = answered(RIGHT, WRONG, RIGHT, "SELECT 3")
    noise = noise_floor(work, trials, again, first, None)
    assert noise == {
        "artifact": "fp16",
        "question_set": "mine",
        "questions": 4,
        "texts_differing": 3,
        "right_to_wrong": 1,
        "wrong_to_right": 1,
        "rows": SECOND_RUN_ROWS,
    }
    assert work.listener.notes[0].startswith("Noise floor: fp16 run twice, 2 of 4 answers to mine flipped, 3 texts")


def test_equal_answers_are_not_scored_again(work, trials):
    first = {"fp16": [verdicts(trials["fp16"].answers[:4])]}
    noise = noise_floor(work, trials, answered(*trials["fp16"].answers[:4]), first, None)
    assert (noise["texts_differing"], noise["right_to_wrong"], noise["wrong_to_right"]) == (0, 0, 0)


def test_the_reference_built_here_carries_its_noise(work, made, trials):
    first = {"fp16": [verdicts(trials["fp16"].answers[:4])]}
    found = find_reference(work, made, first, {"right_to_wrong": 1, "wrong_to_right": 1}, None)
    assert (found.name, found.kind, found.digest, found.noise_flips) == ("fp16", "artifact", "key", 2)
    assert found.is_artifact("fp16")
    assert not found.is_artifact("q4")
    assert find_reference(work, made, first, {}, None).noise_flips is None
    assert find_reference(work, made, {}, {}, None) is None
    assert find_reference(work, {**made, "fp16": WorkbenchError("full")}, first, {}, None) is None


@pytest.mark.usefixtures("scores")
def test_given_answers_stand_in_for_it(work, made, trials):
    work.given_reference = SimpleNamespace(name="far.jsonl", digest="d", answers=[[RIGHT] * 4])
    found = find_reference(work, made, {"fp16": [verdicts(trials["fp16"].answers[:4])]}, {}, None)
    assert (found.name, found.kind, found.digest) == ("far.jsonl", "file", "d")
    assert all(verdict.verdict == "correct" for verdict in found.verdicts[0])
    work.sets, work.given_reference.answers = work.sets * 2, [[RIGHT] * 4, None]
    assert find_reference(work, made, {}, {}, None).verdicts[1] is None
