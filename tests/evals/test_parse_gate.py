"""What is a query, and what is not."""

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
        ("WITH a AS (SELECT 1) DELETE FROM t", "not a query: DELETE"),
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
        ("SELECT 1 --" + "x" * MAX_LENGTH, "longer than"),
    ],
)
def test_everything_else_is_named(sql, reason):
    assert reason in gate(sql)
