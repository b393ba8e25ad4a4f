"""Databases as text: where they are looked for, and both layouts. That they load is in ``evals/test_postgres.py``."""

import json
from pathlib import Path

import pytest

from workbench import databases
from workbench.databases import COPY_BLOCK, DefogDatabase, PlainDatabase, find_database, places
from workbench.errors import EvaluationError

SCHEMA = 'CREATE TABLE customer (id int, "Full Name" text);\nCREATE SCHEMA sales;\nCREATE TABLE sales.item (id int);\n'
METADATA = {
    "shop.customer": [
        {"column_name": "id", "data_type": "bigint", "column_description": "one per\ncustomer"},
        {"column_name": "full name", "data_type": "text", "column_description": ""},
    ],
    "plain": [{"column_name": "a", "data_type": "int", "column_description": "last"}],
}
# What sql-eval's to_prompt_schema and generate_prompt make of METADATA, then this project's lines of joins.
PROMPT = """CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE shop.customer (
  id bigint, --one per customer
  "full name" text
);
CREATE TABLE plain (
  a int --last
);

-- plain.a can be joined with shop.customer.id"""
SUPPLEMENTARY = """import torch_that_is_not_there
columns_ner = {}
columns_join = {"mine": {
    ("plain", "shop.customer"): [("plain.a", "shop.customer.id"), ("plain.a", "shop.customer.id")],
    ("plain", "x"): [("plain.a", "x.typo")],
}}
print(undefined)
"""
DUMP = r"""--
-- PostgreSQL database dump
--

\restrict abc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA public;
ALTER SCHEMA public OWNER TO postgres;

--
-- Name: t; Type: TABLE
--

CREATE TABLE public.t (
    a text -- GRANT is a word too
);


ALTER TABLE public.t OWNER TO somebody;
COPY public.t (a) FROM stdin;
GRANT x TO y;
\.
GRANT SELECT ON TABLE public.t TO reader;
\unrestrict abc
"""


@pytest.fixture(autouse=True)
def no_wheel(monkeypatch):
    """The installed defog-data would answer for its seven databases."""
    monkeypatch.setattr(databases, "WHEEL", "defog_data_that_is_not_installed")


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def defog(folder: Path, name: str = "mine") -> Path:
    made = write(folder / name)
    (made / f"{name}.sql").write_text(DUMP)
    (made / f"{name}.json").write_text(json.dumps({"table_metadata": METADATA, "glossary": ""}))
    return made


def test_schema_and_rows_in_sql(tmp_path):
    database = PlainDatabase(write(tmp_path, schema_dot_sql=f"\n{SCHEMA}\n", rows_dot_sql="INSERT INTO customer;"))
    assert database.schema() == SCHEMA.strip()
    assert database.script() == f"\n{SCHEMA}\n\n;\nINSERT INTO customer;"


@pytest.mark.parametrize("place", ["", "rows__"])
def test_rows_in_csv(tmp_path, place):
    files = {
        f"{place}customer_dot_csv": '\ufeffid,Full Name\n1,"a\n,b"\n2,\n\n',
        f"{place}sales_dot_item_dot_csv": "ID\r\n1\r\n",
    }
    database = PlainDatabase(write(tmp_path, schema_dot_sql=SCHEMA, **files))
    first, second = COPY_BLOCK.findall(database.script())
    assert first == (
        'COPY "customer" ("id", "Full Name") FROM stdin WITH (FORMAT csv, HEADER);',
        'id,Full Name\n1,"a\n,b"\n2,\n',
    )
    assert second == ('COPY "sales"."item" ("id") FROM stdin WITH (FORMAT csv, HEADER);', "ID\r\n1\r\n")


def test_a_question_file_is_no_table(tmp_path):
    write(tmp_path, schema_dot_sql=SCHEMA, rows_dot_sql="", questions_dot_csv="question,query\na,b\n")
    assert "COPY" not in PlainDatabase(tmp_path).script()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("client_dot_csv", "id\n1\n", "named after no table"),
        ("customer_dot_csv", "", "is empty"),
        ("customer_dot_csv", "id,\n1,2\n", "without a name"),
        ("customer_dot_csv", "id,id\n1,2\n", "two of one name"),
        ("customer_dot_csv", "id;name\n1;2\n", "not separated by commas"),
        ("customer_dot_csv", 'id\n"\n\\.\n"\n', "put them in rows.sql"),
    ],
)
def test_faults_of_a_csv_are_named(tmp_path, name, text, fault):
    with pytest.raises(EvaluationError, match=fault) as caught:
        PlainDatabase(write(tmp_path, schema_dot_sql=SCHEMA, **{name: text})).script()
    assert str(tmp_path) in str(caught.value)


def test_no_rows_and_text_that_is_no_utf8(tmp_path):
    with pytest.raises(EvaluationError, match="holds no rows; add"):
        PlainDatabase(write(tmp_path, schema_dot_sql=SCHEMA)).script()
    (tmp_path / "rows.sql").write_bytes("INSERT 'Zürich'".encode("latin-1"))
    with pytest.raises(EvaluationError, match="as UTF-8 text"):
        PlainDatabase(tmp_path).script()


def test_a_dump_is_shown_without_its_wrapping_and_names_no_foreign_role(tmp_path):
    database = PlainDatabase(write(tmp_path, schema_dot_sql=DUMP.split("COPY", maxsplit=1)[0], rows_dot_sql=""))
    assert database.schema() == "CREATE TABLE public.t (\n    a text -- GRANT is a word too\n);"
    script = DefogDatabase(defog(tmp_path), "mine").script()
    assert COPY_BLOCK.search(script)[2] == "GRANT x TO y;\n"
    assert not any(word in script for word in ("OWNER", "GRANT SELECT", "restrict", "CREATE SCHEMA"))
    assert "SET statement_timeout" in script


def test_defogs_layout_is_shown_as_sql_eval_shows_it_and_runs_no_code(tmp_path):
    folder = defog(tmp_path)
    assert DefogDatabase(folder, "mine").schema() == PROMPT.partition("\n\n--")[0]
    (tmp_path / "supplementary.py").write_text(SUPPLEMENTARY)
    assert DefogDatabase(folder, "mine").schema() == PROMPT


@pytest.mark.parametrize(
    ("text", "fault"),
    [("columns_join = {'mine': open('x')}", "no plain dict"), ("columns_join = {", "no plain dict"), ("x = 1", "")],
)
def test_joins_that_are_no_literal_are_refused(tmp_path, text, fault):
    folder = defog(tmp_path)
    (tmp_path / "supplementary.py").write_text(text)
    if not fault:
        assert "joined" not in DefogDatabase(folder, "mine").schema()
        return
    with pytest.raises(EvaluationError, match=fault):
        DefogDatabase(folder, "mine").schema()


def test_a_dump_without_its_description(tmp_path):
    folder = defog(tmp_path)
    (folder / "mine.json").write_text('{"table_metadata": {"t": [{"name": "a"}]}}')
    with pytest.raises(EvaluationError, match="not in defog-data's format"):
        DefogDatabase(folder, "mine").schema()
    (folder / "mine.json").unlink()
    with pytest.raises(EvaluationError, match=r"no mine\.json"):
        DefogDatabase(folder, "mine").schema()


def test_the_first_place_that_has_it_wins(tmp_path, monkeypatch):
    """--databases, then beside the questions, then the wheel; each database by itself."""
    package = tmp_path / "site" / "fake_defog_data"
    for name in ("a", "b", "c"):
        defog(package, name)
    (package / "__init__.py").write_text("raise RuntimeError('was imported')")
    monkeypatch.setattr(databases, "WHEEL", "fake_defog_data")
    monkeypatch.syspath_prepend(str(package.parent))
    asked = tmp_path / "set" / "questions.csv"
    for name in ("a", "b"):
        write(asked.parent / "databases" / name, schema_dot_sql="beside")
    chosen = write(tmp_path / "chosen")
    write(chosen / "a", schema_dot_sql="chosen")
    found = [find_database(places(asked, chosen), name) for name in ("a", "b", "c")]
    assert [one.schema() for one in found[:2]] == ["chosen", "beside"]
    assert found[2] == DefogDatabase(package / "c", "c")


def test_a_checkout_may_be_named_by_its_root_or_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "WHEEL", "defog_data")
    folder = defog(tmp_path / "checkout" / "defog_data", "broker")
    for given in (folder.parents[1], folder.parent, folder):
        assert find_database(places(tmp_path / "q.csv", given), "broker").schema().startswith("CREATE SCHEMA")


def test_a_folder_of_ones_own_is_itself_the_database(tmp_path):
    write(tmp_path, schema_dot_sql="mine")
    assert find_database(places(tmp_path / "questions.csv"), tmp_path.name).schema() == "mine"
    assert find_database(places(tmp_path / "questions.csv"), "any").schema() == "mine"


@pytest.mark.parametrize("name", ["none", "../secret", "..", "/etc"])
def test_what_is_nowhere_names_every_place(tmp_path, name):
    write(tmp_path / "secret", schema_dot_sql="x")
    chosen = write(tmp_path / "chosen")
    with pytest.raises(EvaluationError) as caught:
        find_database(places(tmp_path / "set" / "q.csv", chosen), name)
    for said in (str(chosen), str(tmp_path / "set" / "databases"), "--databases", "pip install defog-data"):
        assert said in str(caught.value)


def test_a_place_that_is_no_folder(tmp_path):
    with pytest.raises(EvaluationError, match="give --databases a folder"):
        places(tmp_path / "q.csv", tmp_path / "missing")
