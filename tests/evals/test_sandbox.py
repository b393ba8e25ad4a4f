"""Attacks: whatever a model writes, the databases stay as they are and the run goes on.

Every attack is made twice: past the parse gate, so that the sandbox alone must hold, and as an answer
in a run of many.
"""

import shutil
import threading
import time
from datetime import date
from pathlib import Path

import psycopg
import pytest

from workbench.errors import EvaluationError
from workbench.evals.sandbox import QueryFailed, Session
from workbench.evals.sql_accuracy import score_predictions

LOOT = "/tmp/workbench_test_loot"
HONEST = "SELECT name FROM customer WHERE city = 'Paris'"

ATTACKS = {
    "drop table": "DROP TABLE purchase",
    "drop database": "DROP DATABASE postgres",
    "delete": "DELETE FROM purchase",
    "truncate": "TRUNCATE purchase",
    "insert": "INSERT INTO customer VALUES (9, 'Eve', NULL, NULL)",
    "update": "UPDATE customer SET name = 'Eve'",
    "alter table": "ALTER TABLE customer ADD COLUMN x int",
    "create table": "CREATE TABLE loot (a int)",
    "create temporary table": "CREATE TEMPORARY TABLE loot (a int)",
    "create table as": "CREATE TABLE loot AS SELECT * FROM customer",
    "create function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "create extension": "CREATE EXTENSION vector",
    "grant": "GRANT ALL ON customer TO PUBLIC",
    "alter role": "ALTER ROLE CURRENT_USER SUPERUSER",
    "set role": "SET ROLE postgres",
    "set": "SET statement_timeout = 0",
    "set transaction": "SET TRANSACTION READ WRITE",
    "reset": "RESET ALL",
    "do block": "DO $$ BEGIN DELETE FROM purchase; END $$",
    "call": "CALL grow()",
    "copy to program": f"COPY customer TO PROGRAM 'cat > {LOOT}'",
    "copy to file": f"COPY customer TO '{LOOT}'",
    "copy to stdout": "COPY customer TO STDOUT",
    "copy from stdin": "COPY customer FROM STDIN",
    "copy from program": "COPY customer FROM PROGRAM 'id'",
    "lock table": "LOCK TABLE customer IN ACCESS EXCLUSIVE MODE",
    "listen": "LISTEN x",
    "notify": "NOTIFY x",
    "vacuum": "VACUUM",
    "checkpoint": "CHECKPOINT",
    "alter system": "ALTER SYSTEM SET work_mem = '1GB'",
    "commit": "COMMIT",
    "prepare transaction": "PREPARE TRANSACTION 'x'",
    "explain analyze": "EXPLAIN ANALYZE DELETE FROM purchase",
    "statements": "SELECT 1; DROP TABLE purchase",
    "commit then drop": "SELECT 1; COMMIT; DROP TABLE purchase; SELECT 1",
    "comment hides semicolon": "SELECT 1 /* ; */ ; /* */ DROP TABLE purchase --",
    "unclosed comment": "SELECT 1 /* ; DROP TABLE purchase",
    "quote trick": "SELECT 'a\\'; DROP TABLE purchase; --'",
    "dollar trick": "SELECT $$a$$; DROP TABLE purchase; SELECT $$b$$",
    "null character": "SELECT 1\0; DROP TABLE purchase",
    "half a surrogate": "SELECT '\ud800'",
    "close the cursor": "SELECT 1) ; DROP TABLE purchase; --",
    "delete in a cte": "WITH d AS (DELETE FROM purchase RETURNING *) SELECT * FROM d",
    "insert in a cte": "WITH d AS (INSERT INTO customer VALUES (9, 'Eve') RETURNING *) SELECT * FROM d",
    "select into": "SELECT * INTO loot FROM customer",
    "for update": "SELECT * FROM customer FOR UPDATE",
    "for key share": "SELECT * FROM customer FOR KEY SHARE",
    "security definer function": "SELECT grow()",
    "sleep": "SELECT pg_sleep(60)",
    "sleep in from": "SELECT * FROM pg_catalog.pg_sleep(60)",
    "sleep for": "SELECT pg_sleep_for('1 minute')",
    "sleep until": "SELECT pg_sleep_until(now() + interval '1 minute')",
    "sleep per row": "SELECT name, pg_sleep(1) FROM customer",
    "quoted sleep": 'SELECT "pg_catalog"."pg_sleep"(60)',
    "read file": "SELECT pg_read_file('/etc/passwd')",
    "read binary file": "SELECT pg_read_binary_file('PG_VERSION')",
    "list files": "SELECT pg_ls_dir('.')",
    "stat file": "SELECT * FROM pg_stat_file('/etc/passwd')",
    "list log files": "SELECT * FROM pg_ls_logdir()",
    "import": "SELECT lo_import('/etc/passwd')",
    "export": f"SELECT lo_export(1, '{LOOT}')",
    "create large object": "SELECT lo_create(4711)",
    "large object from bytes": "SELECT lo_from_bytea(4712, 'x')",
    "large object creat": "SELECT lo_creat(-1)",
    "set config": "SELECT set_config('statement_timeout', '0', false)",
    "set config of transaction": "SELECT set_config('transaction_read_only', 'off', true)",
    "update settings view": "UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'",
    "nextval": "SELECT nextval('ticket')",
    "setval": "SELECT setval('ticket', 99)",
    "advisory lock": "SELECT pg_advisory_lock(1)",
    "try advisory lock": "SELECT pg_try_advisory_lock(1)",
    "shared advisory lock": "SELECT pg_advisory_xact_lock_shared(1, 2)",
    "notify function": "SELECT pg_notify('x', 'y')",
    "terminate": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "terminate by number": "SELECT pg_terminate_backend(g) FROM generate_series(1, 100000) AS g",
    "cancel": "SELECT pg_cancel_backend(pg_backend_pid())",
    "reload": "SELECT pg_reload_conf()",
    "rotate log": "SELECT pg_rotate_logfile()",
    "reset statistics": "SELECT pg_stat_reset()",
    "replication slot": "SELECT pg_create_physical_replication_slot('x')",
    "logical message": "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "transaction number": "SELECT txid_current()",
    "current transaction number": "SELECT pg_current_xact_id()",
    "snapshot": "SELECT pg_export_snapshot()",
    "sql in a function": "SELECT query_to_xml('DELETE FROM purchase RETURNING 1', true, true, '')",
    "sql in a cursor": "SELECT cursor_to_xml('answer', 10, true, true, '')",
    "sql in text search": "SELECT * FROM ts_stat('SELECT to_tsvector(name) FROM customer')",
    "whole database": "SELECT database_to_xml(true, true, '')",
    "dblink": "SELECT * FROM dblink('dbname=postgres', 'DROP TABLE purchase') AS t(a text)",
    "passwords": "SELECT rolpassword FROM pg_authid",
    "other sessions": "SELECT query FROM pg_stat_activity",
    "user mappings": "SELECT * FROM pg_user_mapping",
    "file settings": "SELECT * FROM pg_hba_file_rules",
    "endless recursion": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "wide recursion": (
        "WITH RECURSIVE r(t) AS (SELECT repeat('x', 1000) UNION ALL SELECT t || 'y' FROM r) SELECT count(*) FROM r"
    ),
    "cartesian": "SELECT count(*) FROM generate_series(1, 1e5) AS a, generate_series(1, 1e5) AS b",
    "large sort": "SELECT repeat('x', 1000) FROM generate_series(1, 100000000) AS g ORDER BY 1, g DESC",
    "large string": "SELECT repeat('x', 1000000000)",
    "large aggregate": "SELECT length(string_agg(repeat('x', 1000000), '')) FROM generate_series(1, 2000)",
    "large array": "SELECT array_length(array_agg(g), 1) FROM generate_series(1, 1000000000) AS g",
    "slow number": "SELECT factorial(100000)",
    "slow pattern": "SELECT repeat('a', 40) ~ '^((a+)+)+$' AND repeat('ab', 500000) ~ '(a|b|ab)*c(a|b)*\\1'",
    "deep brackets": "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "long sum": "SELECT " + "1+" * 40_000 + "1",
    "no sql": "",
    "only a comment": "-- nothing",
}
HARMLESS = {"unclosed comment", "user mappings", "slow pattern", "quote trick"}  # may run, and change nothing


@pytest.fixture(scope="module")
def admin(server, shop):
    """A superuser's connection to the shop."""
    name = psycopg.conninfo.conninfo_to_dict(shop.conninfo)["dbname"]
    with psycopg.connect(server.conninfo, dbname=name, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def picture(admin):
    """A function that describes everything an attack might change."""
    queries = [
        "SELECT * FROM customer ORDER BY id",
        "SELECT * FROM purchase ORDER BY id",
        "SELECT * FROM archive.old_purchase",
        "SELECT * FROM ticket",
        "SELECT oid, relname, relacl::text FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace ORDER BY oid",
        "SELECT datname FROM pg_database ORDER BY 1",
        "SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY 1",
        "SELECT count(*) FROM pg_largeobject_metadata",
        "SELECT count(*) FROM pg_proc",
        "SELECT count(*) FROM pg_extension",
        "SELECT count(*) FROM pg_replication_slots",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT name, setting FROM pg_file_settings ORDER BY 1",
    ]
    return lambda: [Path(LOOT).exists(), *(admin.execute(query).fetchall() for query in queries)]


def test_there_are_enough_attacks():
    assert len(ATTACKS) >= 45


@pytest.mark.parametrize("name", ATTACKS)
def test_the_sandbox_alone_holds(shop, picture, name):
    before = picture()
    started = time.monotonic()
    try:
        table = shop.run(ATTACKS[name], timeout_s=0.5, max_rows=10)
    except QueryFailed:
        table = None
    assert time.monotonic() - started < 20
    assert table is None or name in HARMLESS
    assert picture() == before


def test_a_run_full_of_attacks_goes_on(ask, server, picture):
    before = picture()
    answers = [answer for attack in ATTACKS.values() for answer in (attack, HONEST)]
    verdicts = score_predictions(ask(*[HONEST] * len(answers)), answers, server, timeout_s=1.5)
    attacked, honest = verdicts[::2], verdicts[1::2]
    assert {verdict.verdict for verdict in honest} == {"correct"}
    assert {verdict.verdict for verdict in attacked} <= {"rejected", "error", "incorrect"}
    incorrect = {name for name, verdict in zip(ATTACKS, attacked, strict=True) if verdict.verdict == "incorrect"}
    assert incorrect <= HARMLESS | {"statements", "commit then drop", "comment hides semicolon", "dollar trick"}
    assert picture() == before


def test_a_backend_that_dies_does_not_end_the_run(shop, admin):
    """As if a query had crashed its backend: the candidate is run once more."""
    ended = []

    def kill():
        time.sleep(0.3)
        found = "FROM pg_stat_activity WHERE usename LIKE 'workbench%'"
        ended.extend(admin.execute(f"SELECT pg_terminate_backend(pid) {found}").fetchall())

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QueryFailed, match="timeout"):
        shop.run(
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b", timeout_s=1, max_rows=1
        )
    killer.join()
    assert ended == [(True,)]


def test_the_byte_cap_stops_reading(shop):
    session = Session(shop.conninfo, 5)
    with pytest.raises(QueryFailed, match="exceeds 1000000 bytes"):
        session.run("SELECT repeat('x', 1000) FROM generate_series(1, 100000)", 100_000, max_bytes=1_000_000)
    assert session.run("SELECT 1", 1).rows == [(1,)]
    session.close()


@pytest.mark.skipif(not shutil.which("prlimit"), reason="memory is limited on Linux with util-linux only")
def test_memory_is_limited(admin):
    limits = Path(f"/proc/{admin.info.backend_pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert int(line.split()[3]) < 2**31


def test_the_row_cap_reads_no_further(shop):
    table = shop.run("SELECT 1 FROM pg_class", timeout_s=5, max_rows=7)
    assert (len(table.rows), table.truncated) == (7, True)


def test_rows_that_are_not_read_may_still_fail(shop):
    with pytest.raises(QueryFailed, match="over 100000 rows"):
        shop.run("SELECT 1 FROM pg_class, pg_class AS b, pg_class AS c, pg_class AS d", timeout_s=5, max_rows=7)
    with pytest.raises(QueryFailed, match="division by zero"):
        shop.run("SELECT 1 / (100 - i) FROM generate_series(1, 200) AS i", timeout_s=5, max_rows=7)


def test_a_query_larger_than_the_socket_takes_at_once(shop):
    sql = f"SELECT length('{'x' * 3_000_000}')"
    assert shop.run(sql, timeout_s=5, max_rows=1).rows == [(3_000_000,)]


def test_a_session_survives_a_failed_query(shop):
    session = Session(shop.conninfo, 5)
    with pytest.raises(QueryFailed, match="division by zero"):
        session.run("SELECT 1 / 0", 1)
    assert session.run("SELECT 1", 1).rows == [(1,)]
    session.close()


def test_the_session_is_the_same_everywhere(shop):
    wanted = {"TimeZone": "UTC", "search_path": "public", "max_parallel_workers_per_gather": "0"}
    columns = ", ".join(f"current_setting('{name}')" for name in wanted)
    assert shop.run(f"SELECT {columns}", timeout_s=5, max_rows=1).rows == [tuple(wanted.values())]


def test_the_environment_changes_nothing(shop, monkeypatch):
    for name, value in {"PGTZ": "Asia/Tokyo", "PGDATESTYLE": "German", "PGCLIENTENCODING": "LATIN1"}.items():
        monkeypatch.setenv(name, value)
    sql = "SELECT current_setting('TimeZone'), current_setting('DateStyle'), date '2024-02-01', U&'\\2192'"
    assert shop.run(sql, timeout_s=5, max_rows=1).rows == [("UTC", "ISO, MDY", date(2024, 2, 1), "\u2192")]


def test_a_database_keeps_its_own_functions_but_not_those_that_run_as_their_owner(server, admin):
    script = """
        CREATE TABLE t (a int); INSERT INTO t VALUES (7); CREATE SEQUENCE s;
        CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT a FROM t';
        CREATE FUNCTION wipe() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM t RETURNING a';
        CREATE FUNCTION nap() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(9); END';
        CREATE FUNCTION unlock() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET transaction_read_only = off; END';
        CREATE FUNCTION stay() RETURNS void LANGUAGE plpgsql AS
          'BEGIN LOOP BEGIN PERFORM count(*) FROM generate_series(1, 100000000);
           EXCEPTION WHEN query_canceled THEN END; END LOOP; END';"""
    with server.loan("functions", script) as database:
        assert database.run("SELECT seven(), last_value FROM s", timeout_s=5, max_rows=1).rows == [(7, 1)]
        for name in ("wipe", "nap", "unlock", "stay"):
            with pytest.raises(QueryFailed):
                database.run(f"SELECT {name}()", timeout_s=0.2, max_rows=1)
        left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%stay()%' AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 20  # it catches its own cancellation, and from Postgres 17 on still ends
        while admin.info.server_version >= 170000 and admin.execute(left).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert database.run("SELECT a FROM t", timeout_s=5, max_rows=1).rows == [(7,)]


def test_values_python_cannot_hold_come_as_text(shop):
    sql = """SELECT 'infinity'::date, '0044-03-15 BC'::date, 'infinity'::timestamp, '100000-01-01'::timestamptz,
        'NaN'::numeric::text, '24:00'::time, '300000 years'::interval"""
    (row,) = shop.run(sql, timeout_s=5, max_rows=1).rows
    assert row[:2] == ("infinity", "0044-03-15 BC")
    assert all(isinstance(value, str) for value in row[:5])


def test_a_server_that_is_gone_is_no_fault_of_the_model():
    with pytest.raises(EvaluationError, match="cannot connect"):
        Session("host=/nonexistent dbname=none", 1)
