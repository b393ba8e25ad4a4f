"""What is a query, and what is not."""

import time

import pytest

from workbench.evals.parse_gate import MAX_LENGTH, gate


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "(SELECT 1) UNION ALL (SELECT 2) LIMIT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1), (2)",
        "TABLE customer",
        "SELECT a, lower(b), date_trunc('month', c) FROM t WHERE d ILIKE '%x%' GROUP BY 1",
        "/* why */ select(1)",
        "((SELECT 1))",
        "SELECT 'DROP TABLE t; SELECT pg_sleep(9)'",
        "SELECT log(2), pg_typeof(1), locality FROM t",
        "SELECT ((( this sqlglot cannot read",
        "SELECT*FROM t",
        "SELECT'a'",
        'SELECT "PG_SLEEP"(1)',
        "SELECT pg_lsn('0/0'), lo_revenue, t.into FROM t",
        "WITH lo_x(a) AS (SELECT 1) SELECT substring(b FROM a FOR update) FROM lo_x",
        "SLECT 1",
        "SELECT 1 --" + "x" * MAX_LENGTH,
    ],
)
def test_queries_pass(sql):
    assert gate(sql) is None


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DROP TABLE t", "not a query: DROP"),
        ("EXPLAIN SELECT 1", "not a query: EXPLAIN"),
        ("SET work_mem = 1", "not a query: SET"),
        ("COPY t TO PROGRAM 'sh'", "not a query: COPY"),
        ("INSERT INTO t VALUES (1)", "not a query: INSERT"),
        ("DO $$ BEGIN END $$", "not a query: DO"),
        ("I do not know", "not a query: I"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "changes data: DELETE"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("-- nothing", "no statement"),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "changes data: DELETE"),
        ("SELECT 1 INTO t", "SELECT INTO"),
        ("SELECT * FROM t FOR UPDATE", "locks rows"),
        ("SELECT * FROM (SELECT * FROM t FOR SHARE) AS s", "locks rows"),
        ("SELECT pg_catalog.PG_SLEEP(3)", "calls pg_sleep"),
        ("SELECT \"pg_read_file\"('/etc/passwd')", "calls pg_read_file"),
        ("SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)", "calls dblink"),
        ("SELECT set_config('a.b', 'c', false)", "calls set_config"),
        ('SELECT U&"pg\\005fsleep" (1)', "calls pg_sleep"),
        ("SELECT pg_sleep /* now */ (((", "calls pg_sleep"),
        ("SELECT " + "(" * 500 + "pg_sleep(1)" + ")" * 500, "calls pg_sleep"),
        ("WITH t AS (INSERT INTO y VALUES (0)) VALUES (false)", "changes data: INSERT"),
        ("WITH t AS (UPDATE y AS z SET a = 1) SELECT 1", "changes data: UPDATE"),
        ("SELECT 1 FROM t JOIN u USING (a) AS j FOR NO KEY UPDATE OF j", "locks rows"),
    ],
)
def test_everything_else_is_named(sql, reason):
    assert reason in gate(sql)


@pytest.mark.parametrize(
    ("opening", "closing"), [("ARRAY[", "]"), ("date(", ")"), ("struct(", ")"), ("f(", ")"), ("(", "")]
)
def test_nesting_that_sqlglot_takes_ages_over_is_left_to_postgres(opening, closing):
    started = time.monotonic()
    assert gate(f"SELECT {opening * 40}1{closing * 40}") is None
    assert time.monotonic() - started < 5
