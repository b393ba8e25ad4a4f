"""Which tokens artifacts are compared on: the model's own prompt, the gold behind it, and how many of both."""

from __future__ import annotations

import dataclasses

import pytest
from llamas import SPACE, make_llama, sentencepiece_vocabulary, write_tokenizer_config, write_tokenizer_json

from workbench.checkpoint import open_checkpoint
from workbench.forced_texts import PROMPT_TOKENS, Limits, answer_text, forced_texts, spread
from workbench.nano import DATA_DIR, MODEL_NAME
from workbench.questions import Question, load_question_set


@pytest.fixture(scope="module")
def nano():
    return open_checkpoint(MODEL_NAME)


@pytest.fixture(scope="module")
def sets():
    return [load_question_set(DATA_DIR / f"{name}.csv") for name in ("heldout", "unseen")]


@pytest.fixture(scope="module")
def tokenizer(nano):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(nano.path)


def test_an_answer_follows_its_prompt_and_the_question_is_told_apart(nano, sets, tokenizer):
    texts = forced_texts(nano, sets, Limits(questions=12, context=1024))
    asked = {question.question: question for one in sets for question in one.questions}
    by_part = {part: {text.question: text for text in texts if text.part == part} for part in ("answers", "prompts")}
    assert by_part["answers"].keys() == by_part["prompts"].keys() == set(range(12))
    assert {text.question_set for text in texts} == {"heldout", "unseen"}
    for number, text in by_part["answers"].items():
        shown, answer = tokenizer.decode(text.tokens[: text.first]), tokenizer.decode(text.compared)
        question = asked[shown.split("### Question\n")[1].split("\n\n### SQL")[0]]
        assert shown == nano.prompt.render(sets[0].schema(question.db_name), question.question) or (
            shown == nano.prompt.render(sets[1].schema(question.db_name), question.question)
        )
        assert answer == f"{question.query}\n```"
        beginning = by_part["prompts"][number]
        assert text.tokens[: len(beginning.tokens)] == beginning.tokens
        assert question.question.startswith(tokenizer.decode(beginning.compared))
        assert 0 < len(beginning.compared) <= PROMPT_TOKENS
    assert [(text.part, text.tokens) for text in texts] == sorted((text.part, text.tokens) for text in texts)


def test_questions_are_spread_over_all_sets(sets):
    chosen = spread(sets, 64)
    total = sum(len(one.questions) for one in sets)
    for one, thinned in zip(sets, chosen, strict=True):
        assert len(thinned.questions) == pytest.approx(64 * len(one.questions) / total, abs=0.51)
    assert [len(one.questions) for one in spread(sets, 1)] == [1, 1]


@pytest.mark.parametrize(
    "limits",
    [Limits(16, 1024, rows=300), Limits(16, 1024, tokens=4000), Limits(16, 1024, rows=300, tokens=4000)],
)
def test_limits_cost_questions(nano, sets, limits):
    whole = forced_texts(nano, sets, Limits(16, 1024))
    fewer = forced_texts(nano, sets, limits)
    questions = {text.question for text in fewer}
    assert 2 <= len(questions) < len({text.question for text in whole})
    assert len({text.question_set for text in fewer}) == 2
    assert sum(len(text.compared) for text in fewer) < 1.5 * limits.rows
    assert sum(len(text.tokens) for text in fewer) < 1.5 * limits.tokens


def test_what_exceeds_the_context_is_left_out(nano, sets):
    lengths = [len(text.tokens) for text in forced_texts(nano, sets, Limits(16, 1024)) if text.part == "answers"]
    middle = sorted(lengths)[len(lengths) // 2]
    assert 0 < len(forced_texts(nano, sets, Limits(16, middle))) < 2 * len(lengths)
    assert max(len(text.tokens) for text in forced_texts(nano, sets, Limits(16, middle))) <= middle
    assert forced_texts(nano, sets, Limits(16, 4)) == []


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(("```",), "SELECT a FROM t\n```"), ((";", "[/SQL]"), "SELECT a FROM t;"), (("\nQ:",), "SELECT a FROM t\nQ:")],
)
def test_an_answer_ends_as_the_model_ends_it(stop, expected):
    assert answer_text(Question("0", "q", "SELECT {a, b} FROM t; SELECT c FROM t", "d", "x"), stop) == expected


def test_a_sentencepiece_vocabulary_puts_no_space_before_an_answer(tmp_path, sets):
    pieces = sentencepiece_vocabulary()
    folder = make_llama(tmp_path / "llama", tokenizer=False, vocab_size=len(pieces))
    write_tokenizer_json(folder, pieces)
    write_tokenizer_config(folder)
    checkpoint = dataclasses.replace(open_checkpoint(str(folder)), prompt_name="v3")
    texts = [text for text in forced_texts(checkpoint, sets, Limits(3, 100_000)) if text.part == "answers"]
    for text in texts:
        assert text.tokens[0] == 1  # <s>, which the tokenizer puts before a prompt
        assert not pieces[text.compared[0]][0].startswith(SPACE)
