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
    text = V3.render("schema", "question", "- Revenue is price times quantity.\n")
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
        ("sqlcoder-nano", "nano"),
        ("someone/else", "v3"),
    ],
)
def test_the_models_name_tells_its_prompt(model: str, prompt: str) -> None:
    assert prompt_for(model).name == prompt


def test_what_ends_an_answer() -> None:
    assert PROMPTS["v3"].stop == (";", "[/SQL]")
    assert all(PROMPTS[name].stop == ("```",) for name in ("nano", "v1", "v2"))


def test_a_user_can_name_the_prompt_of_a_folder_whose_name_tells_nothing() -> None:
    checkpoint = Checkpoint("snapshot", Path("x"), None, {}, {})
    assert checkpoint.prompt.name == "v3"
    assert dataclasses.replace(checkpoint, prompt_name="v1").prompt.name == "v1"
