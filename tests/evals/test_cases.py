"""Cases that bring their own tables, judged one by one."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from workbench.errors import EvaluationError
from workbench.evals.cases import LOADED, SHARED, Case, judge, judge_all
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
        ("SELECT a FROM t", "SELECT a FROM t", "correct", True),
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


def test_the_question_decides_where_the_case_does_not(server):
    case = {"setup_sql": SETUP, "golds": ["SELECT a FROM t ORDER BY a"], "candidate": "SELECT a FROM t ORDER BY a DESC"}
    asked = [
        ("List each a.", None),
        ("List each a in ascending order.", None),
        ("List each a in ascending order.", False),
    ]
    found = [judge(Case(**case, question=text, order_matters=flag), server).verdict for text, flag in asked]
    assert found == ["correct", "incorrect", "correct"]


def test_a_weak_gold_is_told(server):
    assert judge(Case(SETUP, ["SELECT count(*) FROM t"], "SELECT 3"), server).weak == "single cell"


@pytest.mark.parametrize(
    ("setup", "golds", "message"),
    [
        ("CREATE TABLE t (a nothing)", ["SELECT 1"], "'case 7'.*nothing"),
        ("CREATE TABLE t (a text); INSERT INTO t VALUES ('\ud800')", ["SELECT 1"], "'case 7'.*surrogates"),
        ("CREATE TABLE t (a text); -- \0", ["SELECT 1"], "'case 7'.*null"),
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


def test_many_cases_are_judged_in_their_order(server):
    """More setups than are loaded at a time, taken in turns, and ids that are not told apart."""
    turns = [
        Case(f"CREATE TABLE t (a int); INSERT INTO t VALUES ({setup})", ["TABLE t"], f"SELECT {setup + wrong}")
        for wrong in (0, 1)
        for setup in range(LOADED + 2)
    ]
    before = databases(server)
    verdicts = list(judge_all(turns, server))
    assert [verdict.verdict for verdict in verdicts] == ["correct"] * (LOADED + 2) + ["incorrect"] * (LOADED + 2)
    assert databases(server) <= before + KEPT


def test_one_setup_serves_more_golds_than_share_a_connection(server):
    count = SHARED + 3
    verdicts = list(judge_all([Case(SETUP, [f"SELECT {n}"], f"SELECT {n}") for n in range(count)], server))
    assert [verdict.exact for verdict in verdicts] == [True] * count


def test_a_case_at_fault_leaves_the_others_alone(server):
    good = Case(SETUP, ["SELECT a FROM t"], "SELECT a FROM t")
    broken = [
        Case(SETUP, ["SELECT nothing FROM t"], "SELECT 1", id="gold"),
        Case("CREATE TABLE t (a nothing)", ["SELECT 1"], "SELECT 1", id="setup"),
        Case(SETUP, ["SELECT pg_sleep(1)"], "SELECT 1", id="slow gold"),
    ]
    outcomes = list(judge_all([good, *broken, good], server))
    assert [outcomes[0].verdict, outcomes[-1].verdict] == ["correct", "correct"]
    assert all(isinstance(outcome, EvaluationError) for outcome in outcomes[1:-1])
    assert [case.id in str(outcome) for case, outcome in zip(broken, outcomes[1:-1], strict=True)] == [True] * 3


ATTACKED = """
CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);
CREATE SEQUENCE s;
CREATE FUNCTION grow() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO t VALUES (9) RETURNING a';
CREATE FUNCTION quietly() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM grow(); RETURN 1; END $$;
"""
ATTACKS = [
    "DROP TABLE t", "DELETE FROM t", "SELECT 1; DROP TABLE t", "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
    "SELECT grow()", "SELECT quietly()", "SELECT nextval('s')", "SELECT * INTO u FROM t", "SELECT * FROM t FOR UPDATE",
    "CREATE ROLE eve SUPERUSER", "ALTER SYSTEM SET work_mem = '1GB'", "SELECT pg_read_file('/etc/passwd')",
    "COPY t TO '/tmp/workbench_case_loot'", "COPY t TO PROGRAM 'cat > /tmp/workbench_case_loot'",
    "SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/workbench_case_loot')", "SELECT set_config('x.y', 'z', false)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "SELECT pg_sleep(100)", "COMMIT", "ROLLBACK",
    "SELECT query_to_xml('DELETE FROM t', true, true, '')", "DO $$ BEGIN DELETE FROM t; END $$",
]  # fmt: skip


def picture(server, database):
    """All that an attack might change."""
    name = psycopg.conninfo.conninfo_to_dict(database.conninfo)["dbname"]
    queries = (
        "SELECT a, xmin::text, ctid::text FROM t",
        "SELECT last_value, is_called FROM s",
        "SELECT oid, relname, relacl::text, relpages FROM pg_class WHERE relkind IN ('r', 'i', 'S', 'v') ORDER BY oid",
        "SELECT oid, proname, proacl::text FROM pg_proc ORDER BY oid",
        "SELECT datname, datacl::text FROM pg_database ORDER BY oid",
        "SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY oid",
        "SELECT count(*) FROM pg_largeobject_metadata",
        "SELECT name, setting FROM pg_settings WHERE source = 'configuration file' ORDER BY 1",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
    )
    with psycopg.connect(server.conninfo, dbname=name) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def test_attacks_leave_everything_as_it_was(server):
    honest = Case(ATTACKED, ["TABLE t"], "SELECT * FROM t")
    with server.loan("attacked", ATTACKED) as database:
        before = picture(server, database)
        attacks = [Case(ATTACKED, ["TABLE t"], candidate) for candidate in ATTACKS]
        verdicts = list(judge_all([case for attack in attacks for case in (attack, honest)], server, timeout_s=1))
        assert picture(server, database) == before
    assert not Path("/tmp/workbench_case_loot").exists()
    assert [verdict.verdict for verdict in verdicts[1::2]] == ["correct"] * len(ATTACKS)
    assert "correct" not in [verdict.verdict for verdict in verdicts[::2]]


SLOW = "SELECT count(*) FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b"


def test_slow_candidates_cost_no_more_than_their_limit(server):
    good = Case(SETUP, ["SELECT a FROM t"], "SELECT a FROM t")
    slow = Case(SETUP, ["SELECT a FROM t"], SLOW)
    list(judge_all([good], server))
    started = time.monotonic()
    verdicts = list(judge_all([slow, good, slow, good, good, slow, good], server, timeout_s=1.0))
    assert time.monotonic() - started < 3 * 1.0 + 10
    assert [verdict.verdict for verdict in verdicts] == [
        "error", "correct", "error", "correct", "correct", "error", "correct",
    ]  # fmt: skip
    assert all(1.0 <= verdict.seconds < 5.0 for verdict in verdicts if verdict.verdict == "error")


@pytest.fixture
def assassin(server):
    """Kills candidates that read ``pg_transform``, as the system does when memory runs out; Postgres then ends all."""
    stop = threading.Event()
    killed = []

    def watch():
        query = (
            "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE relation = 'pg_transform'::regclass AND usename = '{server.role}'"
        )
        while not stop.wait(0.05):
            try:
                with psycopg.connect(server.conninfo, autocommit=True) as connection:
                    while not stop.wait(0.02):
                        for (pid,) in connection.execute(query).fetchall():
                            os.kill(pid, signal.SIGKILL)
                            killed.append(pid)
            except (psycopg.Error, ProcessLookupError):
                continue  # the server is just coming back

    thread = threading.Thread(target=watch)
    thread.start()
    yield killed
    stop.set()
    thread.join()


def test_a_crash_spoils_no_other_verdict(server, assassin):
    """Nor loses data that were loaded a moment before, though several crash beside queries that take their time."""
    crash = Case(SETUP, ["SELECT a FROM t"], f"{SLOW} LEFT JOIN pg_transform ON true")
    steady = "SELECT a FROM t WHERE (SELECT count(*) FROM generate_series(1, 3000000)) > 0"
    cases = []
    for number in range(2):
        setup = f"{SETUP} INSERT INTO t VALUES ({number}, 'new')"
        honest = [Case(setup, ["SELECT a FROM t"], candidate) for candidate in (steady, "SELECT a FROM t")]
        cases += [crash, *honest, crash, *honest]
    verdicts = list(judge_all(cases, server))
    reasons = [verdict.reason for verdict in verdicts]
    assert [verdict.verdict for verdict in verdicts] == ["error", "correct", "correct"] * 4, reasons
    assert len(assassin) >= 4


def test_where_the_gold_declines_no_database_is_needed(server):
    cases = [
        Case("CREATE NOTHING", ["SELECT 'I do not know' AS answer"], one) for one in ("I do not know.", "SELECT 1")
    ]
    assert [verdict.verdict for verdict in judge_all(cases, server)] == ["correct", "incorrect"]
    assert judge(cases[0], server).verdict == "correct"


def test_cases_are_judged_by_sql_evals_rules_too(server):
    rows = "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')"
    downwards = "SELECT a, b FROM t ORDER BY a DESC"
    cases = [Case(rows, ["SELECT a, b FROM t ORDER BY a ASC"], downwards, category=name) for name in ("", "order_by")]
    found = [(verdict.verdict, verdict.defog_correct) for verdict in judge_all(cases, server)]
    assert found == [("correct", True), ("correct", False)]
    assert judge(cases[1], server).defog_correct is False


DUMP = r"""
\restrict abc
SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA public;
ALTER SCHEMA public OWNER TO somebody;
CREATE FUNCTION public.twice(a integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN 2 * a; -- a semicolon; in a body
END $$;
CREATE TABLE public.t (a integer, b text);
ALTER TABLE public.t OWNER TO somebody;
COPY public.t (a, b) FROM stdin;
1	x; y
2	\N
\.
CREATE VIEW public.v AS SELECT a, public.twice(a) AS c FROM public.t;
CREATE SCHEMA shop;
CREATE TABLE shop.u AS SELECT 3 AS d;
GRANT ALL ON TABLE public.t TO somebody;
\unrestrict abc
"""


@pytest.mark.parametrize("query", ["SELECT b FROM t", "SELECT c FROM v", "SELECT d FROM shop.u", "SELECT twice(2)"])
def test_a_setup_may_be_a_dump(server, query):
    assert judge(Case(DUMP, [query], query), server).exact


def test_threads_may_judge_side_by_side(server):
    """More setups than are kept, each asked for by every thread: none loses its database to another's clearing up."""

    def ask(turn):
        setup = turn * 7 % (KEPT + 3)  # each thread in its own order
        case = Case(f"CREATE TABLE t AS SELECT {setup} AS side_by_side", ["TABLE t"], f"SELECT {setup}")
        return judge(case, server).exact

    before = databases(server)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(3 * (KEPT + 3))))
    assert databases(server) <= before + KEPT
