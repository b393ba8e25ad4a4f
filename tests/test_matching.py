"""Answers held against the questions: in their order, all there, and asked with the very same prompt."""

import dataclasses

import pytest

from workbench.errors import WorkbenchError
from workbench.matching import answers_in_order, matched
from workbench.predictions import Prediction, digest_of
from workbench.questions import Question, QuestionSet

PROMPTS = [f"schema\nq{n}?" for n in range(3)]


@pytest.fixture
def asked(tmp_path):
    return QuestionSet("mine", tuple(Question(str(n), f"q{n}?", "SELECT 1", "db", "where") for n in range(3)), tmp_path)


def answers(*ids):
    return [Prediction("mine", str(n), f"SELECT {n}", digest_of(PROMPTS[n])) for n in ids]


def test_answers_come_in_the_order_of_the_questions(asked):
    other = dataclasses.replace(answers(0)[0], question_set="another")
    assert answers_in_order([*answers(2, 0, 1), other], asked, PROMPTS) == answers(0, 1, 2)


def test_another_prompt_is_one_sentence(asked):
    with pytest.raises(WorkbenchError, match=r"2 of 3 answers to mine .* another prompt or schema: .*0, 2"):
        matched(answers(0, 1, 2), asked, ["other", PROMPTS[1], "other"])


def test_a_question_of_another_set(asked):
    with pytest.raises(WorkbenchError, match="questions that mine does not hold: 7;"):
        matched([*answers(0), Prediction("mine", "7", "SELECT 1")], asked)


def test_a_missing_answer(asked):
    with pytest.raises(WorkbenchError, match="no answer to 2 of 3 questions of mine: 0, 2;"):
        answers_in_order(answers(1), asked)
