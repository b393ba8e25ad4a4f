"""Cases that bring their own tables, judged one by one."""

import psycopg
import pytest

from workbench.errors import EvaluationError
from workbench.evals.cases import Case, judge
from workbench.evals.postgres import KEPT

SETUP = "CREATE TABLE t (a int, b text);\nINSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'x');"


def databases(server):
    with psycopg.connect(server.conninfo) as connection:
        query = "SELECT count(*) FROM pg_database WHERE datname LIKE %s"
        return connection.execute(query, [server.role + "%"]).fetchone()[0]


@pytest.mark.parametrize(
    ("golds", "candidate", "verdict", "exact"),
    [
        (["SELECT a FROM t"], "```sql\nSELECT a FROM t;\n```", "correct", True),
        (["SELECT b FROM t -- in any order", "SELECT a FROM t"], "SELECT a FROM t", "correct", True),
        (["SELECT {a, b} FROM t"], "SELECT b, a FROM t", "correct", False),
        (["SELECT a FROM t; SELECT b FROM t"], "SELECT b, a FROM t", "correct", False),
        (["SELECT a FROM t"], "SELECT a + 1 FROM t", "incorrect", False),
        (["SELECT a FROM t"], "SELECT c FROM t", "error", False),
        (["SELECT a FROM t"], "DROP TABLE t", "rejected", False),
    ],
)
def test_verdicts(server, golds, candidate, verdict, exact):
    found = judge(Case(SETUP, golds, candidate, id="7"), server)
    assert (found.question_id, found.verdict, found.exact) == ("7", verdict, exact)


def test_order_counts_where_the_case_says_so(server):
    case = {"setup_sql": SETUP, "golds": ["SELECT a FROM t ORDER BY a"], "candidate": "SELECT a FROM t ORDER BY a DESC"}
    found = [judge(Case(**case, order_matters=flag), server).verdict for flag in (None, False, True)]
    assert found == ["correct", "correct", "incorrect"]


def test_a_weak_gold_is_told(server):
    assert judge(Case(SETUP, ["SELECT count(*) FROM t"], "SELECT 3"), server).weak == "single cell"


@pytest.mark.parametrize(
    ("setup", "golds", "message"),
    [
        ("CREATE TABLE t (a nothing)", ["SELECT 1"], "'7'.*nothing"),
        ("CREATE TABLE t (a text); INSERT INTO t VALUES ('\ud800')", ["SELECT 1"], "'7'.*surrogates"),
        ("CREATE TABLE t (a text); -- \0", ["SELECT 1"], "'7'.*null"),
        (SETUP, ["SELECT a FROM t", "SELECT nothing FROM t"], "7: correct its gold"),
        (SETUP, [], "7: the gold holds no SQL"),
    ],
)
def test_a_fault_of_the_case_is_never_the_candidates(server, setup, golds, message):
    before = databases(server)
    with pytest.raises(EvaluationError, match=message):
        judge(Case(setup, golds, "SELECT 1", id="7"), server)
    assert databases(server) <= before + (setup == SETUP)


def test_equal_setups_share_a_database_and_few_are_kept(server):
    before = databases(server)
    for number in range(KEPT + 4):
        setup = f"CREATE TABLE t (a int); INSERT INTO t VALUES ({number})"
        for _ in range(2):
            assert judge(Case(setup, [f"VALUES ({number})"], "TABLE t"), server).exact
    assert databases(server) <= before + KEPT
