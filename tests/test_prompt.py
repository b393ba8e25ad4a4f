"""Prompts, byte for byte as the models were trained on them."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.checkpoint import Checkpoint
from workbench.prompt import PROMPTS, V3, prompt_for

# defog-ai/sqlcoder (Apache-2.0), prompt.md at commits 2313019, 91f82a6 and ba0187a; written as single
# lines here so that a slip in the module's own text does not repeat itself.
GOLDEN = {
    "v1": (
        "### Instructions:\nYour task is convert a question into a SQL query, given a Postgres database schema.\n"
        "Adhere to these rules:\n- **Deliberately go through the question and database schema word by word** to "
        "appropriately answer the question\n- **Use Table Aliases** to prevent ambiguity. For example, `SELECT "
        "table1.col1, table2.col1 FROM table1 JOIN table2 ON table1.id = table2.id`.\n- When creating a ratio, always "
        "cast the numerator as float\n\n### Input:\nGenerate a SQL query that answers the question `How many?`.\n"
        "This query will run on a database whose schema is represented in this string:\nCREATE TABLE t (id int);\n\n"
        "### Response:\nBased on your instructions, here is the SQL query I have generated to answer the question "
        "`How many?`:\n```sql\n"
    ),
    "v2": (
        "### Task\nGenerate a SQL query to answer the following question:\n`How many?`\n\n### Database Schema\n"
        "The query will run on a database with the following schema:\nCREATE TABLE t (id int);\n\n### SQL\n"
        "Follow these steps to create the SQL Query:\n1. Only use the columns and tables present in the database "
        "schema\n2. Use table aliases to prevent ambiguity when doing joins. For example, `SELECT table1.col1, "
        "table2.col1 FROM table1 JOIN table2 ON table1.id = table2.id`.\n\nGiven the database schema, here is the SQL "
        "query that answers `How many?`:\n```sql\n"
    ),
    "v3": (
        "### Task\nGenerate a SQL query to answer [QUESTION]How many?[/QUESTION]\n\n### Instructions\n- If you cannot "
        "answer the question with the available database schema, return 'I do not know'\n\n### Database Schema\n"
        "The query will run on a database with the following schema:\nCREATE TABLE t (id int);\n\n### Answer\n"
        "Given the database schema, here is the SQL query that answers [QUESTION]How many?[/QUESTION]\n[SQL]\n"
    ),
    # The model card of defog/llama-3-sqlcoder-8b, less <|begin_of_text|>.
    "v3-llama3": (
        "<|start_header_id|>user<|end_header_id|>\n\nGenerate a SQL query to answer this question: `How many?`\n\n"
        "DDL statements:\nCREATE TABLE t (id int);<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        "The following SQL query best answers the question `How many?`:\n```sql\n"
    ),
    # Gao et al. 2023 (arXiv 2308.15363), less the last word.
    "completion": (
        "/* Given the following database schema: */\nCREATE TABLE t (id int);\n\n"
        "/* Answer the following: How many? */\n"
    ),
    # The frame of bigcode/octocoder's model card.
    "octocoder": (
        "Question: Write one PostgreSQL query that answers `How many?` on a database with the following schema:\n"
        "CREATE TABLE t (id int);\n\nAnswer:"
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_text_the_model_was_trained_on(name: str) -> None:
    assert PROMPTS[name].render("CREATE TABLE t (id int);", "How many?") == GOLDEN[name]


def test_the_schema_comes_first_in_nano_so_that_questions_share_a_prefix() -> None:
    first, second = (PROMPTS["nano"].render("CREATE TABLE t (id int);", text) for text in ("How many?", "Which?"))
    shared = first.index("How many?")
    assert first[:shared] == second[:shared]
    assert "CREATE TABLE" in first[:shared]


def test_instructions_are_lines_of_v3() -> None:
    text = V3.render("schema", "question", "- Revenue is price times quantity.")
    assert text == V3.render("schema", "question", "- Revenue is price times quantity.\n")
    assert "return 'I do not know'\n- Revenue is price times quantity.\n\n### Database Schema" in text


def test_braces_in_values_are_left_alone() -> None:
    text = PROMPTS["v2"].render("{question} {schema} {x}", "What is {schema}? {{}} %s")
    assert text.count("{question} {schema} {x}") == 1
    assert text.count("`What is {schema}? {{}} %s`") == 2


@settings(deadline=None)
@given(schema=st.text(), question=st.text())
def test_values_stand_in_the_prompt_unchanged(schema: str, question: str) -> None:
    before, rest = PROMPTS["nano"].template.split("{schema}")
    between, after = rest.split("{question}")
    assert PROMPTS["nano"].render(schema, question) == before + schema + between + question + after


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("defog/sqlcoder", "v1"),
        ("defog/sqlcoder2", "v2"),
        ("TheBloke/sqlcoder2-GPTQ", "v2"),
        ("defog/sqlcoder-7b", "v2"),
        ("defog/sqlcoder-7b-2", "v3"),
        ("defog/sqlcoder-34b-alpha", "v3"),
        ("defog/sqlcoder-70b-alpha", "v3"),
        ("/models/SQLCoder-7B-2/", "v3"),
        ("defog/llama-3-sqlcoder-8b", "v3-llama3"),
        ("someone/Llama3-SQLCoder-8B-finetuned", "v3-llama3"),
        ("bigcode/starcoder", "completion"),
        ("bigcode/starcoderbase-1b", "completion"),
        ("bigcode/octocoder", "octocoder"),
        ("Deci/DeciCoder-1b", "completion"),
        ("sqlcoder-nano", "nano"),
        ("someone/else", "v3"),
    ],
)
def test_the_models_name_tells_its_prompt(model: str, prompt: str) -> None:
    assert prompt_for(model).name == prompt


def test_what_ends_an_answer() -> None:
    assert PROMPTS["v3"].stop == (";", "[/SQL]")
    assert all(PROMPTS[name].stop == ("```",) for name in ("nano", "v1", "v2"))
    # OctoCoder answers in prose or in a fence of its own, which a fence as stop text would cut off at once.
    assert not any("```" in stop for stop in PROMPTS["octocoder"].stop)


@pytest.mark.parametrize("name", PROMPTS)
def test_no_stop_text_is_what_an_answer_begins_with(name: str) -> None:
    assert not any("SELECT 1".startswith(stop) or stop in "\nSELECT 1\n" for stop in PROMPTS[name].stop)


def test_the_beginning_of_a_text_is_the_tokenizers_to_mark() -> None:
    """Llama 3's tokenizer marks it itself and knows the header tokens inside a prompt: each once, none in pieces."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = Tokenizer(models.BPE(unk_token="?", vocab={"?": 0}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(special)
    start = tokenizer.token_to_id(special[0])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A", special_tokens=[(special[0], start)]
    )
    ids = PreTrainedTokenizerFast(tokenizer_object=tokenizer).encode(PROMPTS["v3-llama3"].render("t", "q"))
    assert ids[0] == start
    assert [ids.count(tokenizer.token_to_id(token)) for token in special] == [1, 2, 2, 1]


def test_a_user_can_name_the_prompt_of_a_folder_whose_name_tells_nothing() -> None:
    checkpoint = Checkpoint("snapshot", Path("x"), None, {}, {})
    assert checkpoint.prompt.name == "v3"
    assert dataclasses.replace(checkpoint, prompt_name="v1").prompt.name == "v1"
