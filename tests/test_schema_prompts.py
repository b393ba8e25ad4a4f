"""Prompts of exactly so many tokens, by the tokenizer of the bundled model."""

import pytest

from workbench.errors import UnsupportedWorkloadError
from workbench.nano import MODEL_DIR
from workbench.prompt import PROMPTS
from workbench.schema_prompts import schema_prompts
from workbench.workload import Workload


@pytest.fixture(scope="module")
def count():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text).ids)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("tokens", [128, 129, 512, 1000, 4096])
def test_the_length_is_exact(count, name, tokens):
    (prompt,) = schema_prompts(Workload(tokens, 16), PROMPTS[name], count)
    assert count(prompt) == tokens
    assert "CREATE TABLE" in prompt


def test_the_models_own_prompt_is_used(count):
    (prompt,) = schema_prompts(Workload(512, 16), PROMPTS["v3"], count)
    assert prompt.startswith("### Task\nGenerate a SQL query to answer [QUESTION]")
    assert prompt.endswith("[SQL]\n")


def test_a_prompt_that_is_too_long_by_itself_gives_way_to_the_plain_one(count):
    (prompt,) = schema_prompts(Workload(128, 16), PROMPTS["v1"], count)
    assert prompt.startswith("/* Given the following database schema: */")


def test_prompts_of_a_batch_begin_differently(count):
    prompts = schema_prompts(Workload(256, 16, batch=16), PROMPTS["nano"], count)
    assert len(set(prompts)) == 16
    assert {count(one) for one in prompts} == {256}
    assert len({one[:60] for one in prompts}) >= 8  # as many databases as there are


def test_the_question_is_one_of_its_database(count):
    (prompt,) = schema_prompts(Workload(300, 16), PROMPTS["nano"], count)
    assert "branches" in prompt  # the first table of the first database


def test_too_short_a_prompt_is_refused(count):
    with pytest.raises(UnsupportedWorkloadError, match="take more than 20 tokens"):
        schema_prompts(Workload(20, 16), PROMPTS["nano"], count)


def test_every_count_of_bytes_can_be_met():
    for tokens in range(700, 740):
        (prompt,) = schema_prompts(Workload(tokens, 16), PROMPTS["nano"], lambda text: len(text.encode()))
        assert len(prompt.encode()) == tokens
