"""What counts as the answer's SQL."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evals.extraction import extract_sql


@pytest.mark.parametrize(
    ("answer", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        (" SELECT 1;\n```\n\nIt's done", "SELECT 1"),
        ("Sure:\n```sql\nSELECT 1;\n```\nand\n```sql\nSELECT 2\n```", "SELECT 1"),
        ("```\nSELECT 1\n```", "SELECT 1"),
        ("```SELECT 1```", "SELECT 1"),
        ("```postgresql\nSELECT 1", "SELECT 1"),
        ("With this query:\n```sql\nWITH a AS (SELECT 1) SELECT * FROM a\n```", "WITH a AS (SELECT 1) SELECT * FROM a"),
        ("WITH RECURSIVE a(n) AS (SELECT 1) SELECT n FROM a</s>x", "WITH RECURSIVE a(n) AS (SELECT 1) SELECT n FROM a"),
        ("[SQL]SELECT 1[/SQL]", "SELECT 1"),
        ("SELECT 1<|endoftext|>SELECT 2", "SELECT 1"),
        ("SELECT 1 ### Question", "SELECT 1"),
        ("SELECT 1\n\nThis query returns one.", "SELECT 1"),
        ("SELECT 1\nExplanation: one", "SELECT 1"),
        ("SELECT a\n\nFROM t\n\nWHERE b = 1", "SELECT a\n\nFROM t\n\nWHERE b = 1"),
        ("SELECT '```', '###', '</s>', '\n\nThis' FROM t; SELECT 2", "SELECT '```', '###', '</s>', '\n\nThis' FROM t"),
        ("-- why\nSELECT 1", "-- why\nSELECT 1"),
        (";;SELECT 1", "SELECT 1"),
        ("SELECT 1; DROP TABLE t", "SELECT 1"),
        ("DROP TABLE t;\n```", "DROP TABLE t"),
        ("SELEC 1", "SELEC 1"),
        ("SELECT (1", "SELECT (1"),
        ("I cannot say", "I cannot say"),
        ("```\n```", ""),
        ("~~~sql\nSELECT a ~~ b\n~~~\nbye", "SELECT a ~~ b"),
        ("````sql\nSELECT 1\n````", "SELECT 1"),
        ("Select the rows:\n\n```sql\nSELECT 1\n```", "SELECT 1"),
        ("SELECT 1;\n```\n\nOr:\n\n```sql\nSELECT 2\n```", "SELECT 1"),
        ("SELEC 1\n```", "SELEC 1"),
        ("sql\nSELECT 1\n```", "SELECT 1"),
        ("Sure:\n```\nSELEC 1\n```", "SELEC 1"),
        ("<think>\n```sql\nSELECT 3\n```\n</think>\n```sql\nSELECT 1\n```", "SELECT 1"),
        ("It's one. </think> SELECT 1", "SELECT 1"),
        ("SELECT 1\n\n**Why**: it's one", "SELECT 1"),
        ("SELECT 1\r\n\r\nCounting one row only.", "SELECT 1"),
        ("SELECT 1\nThis query returns one", "SELECT 1"),
        ("SELECT 1<\uff5cend\u2581of\u2581sentence\uff5c>", "SELECT 1"),
        ("SELECT a FROM\n\nCustomers c join t on b\n\nWhere c", "SELECT a FROM\n\nCustomers c join t on b\n\nWhere c"),
        ("SELECT a\n\n- b FROM t", "SELECT a\n\n- b FROM t"),
        ("SELECT 1 --\r; DROP TABLE t", "SELECT 1 --"),
        ("", ""),
    ],
)
def test_extraction(answer, sql):
    assert extract_sql(answer) == sql


@given(st.text(max_size=60))
def test_never_raises_and_never_adds(answer):
    assert extract_sql(answer) in answer


@given(st.text(alphabet=st.characters(exclude_characters="\0\x01"), max_size=30))
def test_literals_pass_whole_in_every_wrapping(content):
    sql = "SELECT '" + content.replace("'", "''") + "' AS x FROM t"
    for answer in (sql, f"{sql};", f"{sql};\n```\nIt's", f"[SQL]{sql}[/SQL]", f"{sql}\n\nThis is it"):
        assert extract_sql(answer) == sql
    assert extract_sql(f"Here you are:\n```sql\n{sql}\n```\n") == sql


@pytest.mark.parametrize("filler", ["\n", " ", "\n ", "(", "'", "/*", "$a$", "`", "<", "--\n", "E'\n'"])
def test_degenerate_answers_take_no_time(filler):
    started = time.monotonic()
    extract_sql("SELECT 1" + filler * 30_000)
    extract_sql(filler * 30_000)
    assert time.monotonic() - started < 5
