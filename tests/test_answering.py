"""Prompts that fit are answered in their order, whatever stands between them."""

from workbench.answering import answer_all
from workbench.runtimes.base import Decoding
from workbench.runtimes.mock import MockSession

SETTINGS = {"answer": "SELECT 2", "holds": 9}


def test_prompts_that_are_too_long_are_told_apart_from_the_others():
    answers = answer_all(MockSession(SETTINGS), ["12345678", "123456789", "1", "1234567890ab", "1"], Decoding())
    assert [one.text for one in answers.generations] == ["SELECT 2", "", "SELECT 2", "", "SELECT 2"]
    assert answers.unasked == {
        1: "too long: 1 tokens more than the context holds",
        3: "too long: 4 tokens more than the context holds",
    }
    assert all(one.finished for one in answers.generations)
    assert answers.notes[0].startswith("2 of 5 questions are too long for the context and count as wrong")


def test_where_all_fit_nothing_is_noted():
    answers = answer_all(MockSession(SETTINGS), ["1", "2"], Decoding())
    assert (answers.unasked, answers.notes) == ({}, [])


def test_where_none_fits_the_engine_is_not_asked():
    answers = answer_all(MockSession({**SETTINGS, "crash": True}), ["1234567890"], Decoding())
    assert answers.unasked.keys() == {0}


def test_no_prompts_no_answers():
    assert answer_all(MockSession({**SETTINGS, "crash": True}), [], Decoding()).generations == []
