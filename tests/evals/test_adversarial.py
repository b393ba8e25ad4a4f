"""Hundreds of answers with the verdict they must get, and the databases as they were afterwards.

The verdicts in ``adversarial.jsonl`` were written down before any was run: from the semantics of the strict score,
and from PostgreSQL's manual. A line holds a candidate, the gold (default: the number of customers) or a list of them,
whether rows are ``ordered``, which ``setup`` beside the shop, and the verdict, ``correct exact`` where columns are the
gold's.
"""

import json
from pathlib import Path

import pytest

from workbench.evals.cases import Case, judge_all

LINES = [json.loads(line) for line in Path(__file__).with_name("adversarial.jsonl").open(encoding="utf-8")]
SHOP = """
CREATE TABLE customers (id integer PRIMARY KEY, name text, city text, joined date, active boolean,
  credit numeric(10,2), rating double precision);
INSERT INTO customers VALUES
 (1, 'Ada', 'Berlin', '2023-01-05', true, 100.50, 4.5), (2, 'Bob', 'Paris', '2023-02-10', false, NULL, 3.0),
 (3, 'Cid', 'Berlin', '2023-02-10', true, 20.00, NULL), (4, 'Dee', 'Rome', NULL, true, 20.00, 4.5),
 (5, 'Eve', NULL, '2023-05-01', NULL, 0.00, 1.25);
CREATE TABLE orders (id integer, customer_id integer, amount numeric(10,2), placed timestamp, note text);
INSERT INTO orders VALUES
 (1, 1, 10.00, '2023-03-01 00:00', 'first'), (2, 1, 10.00, '2023-03-01 12:30', 'a;b'),
 (3, 2, 25.50, '2023-03-02 00:00', NULL), (4, 3, 7.25, '2023-03-03 08:00', 'x'), (5, 3, 7.25, '2023-03-03 08:00', 'x'),
 (6, 4, 100.00, '2023-04-01 00:00', 'y');
"""
SETUPS = {
    "shop": SHOP,
    "function": SHOP + "CREATE FUNCTION five() RETURNS int LANGUAGE sql AS 'SELECT 5'",
    "owner": SHOP
    + "CREATE FUNCTION wipe() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM customers RETURNING 5'",
    "sleeper": SHOP + "CREATE FUNCTION nap() RETURNS int LANGUAGE sql AS 'SELECT 5 FROM pg_sleep(60)'",
    "unlocker": SHOP
    + """CREATE FUNCTION unset() RETURNS int LANGUAGE plpgsql AS
         'BEGIN SET transaction_read_only = off; DELETE FROM customers; RETURN 5; END'""",
    "sequence": SHOP + "CREATE SEQUENCE s; CREATE TABLE ser (id serial, x int); INSERT INTO ser (x) VALUES (1), (2)",
    "view": SHOP
    + """CREATE VIEW v AS SELECT id, name FROM customers;
         CREATE MATERIALIZED VIEW mv AS SELECT city, count(*) AS n FROM customers GROUP BY city""",
    "schema": """CREATE SCHEMA app; CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1), (2);
         CREATE TABLE public.u (a int); INSERT INTO u VALUES (7)""",
    "enum": """CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TABLE p (n text, m mood);
         INSERT INTO p VALUES ('a', 'happy'), ('b', 'sad'), ('c', 'ok')""",
}
DIGEST = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM {} AS t"


def as_case(line):
    gold = line.get("gold", "SELECT count(*) FROM customers")
    setup = SETUPS[line.get("setup", "shop")]
    return Case(setup, gold, line["candidate"], order_matters=line.get("ordered", False), id=line["id"])


@pytest.fixture(scope="module")
def verdicts(server):
    with server.loan("shop", SHOP) as shop:

        def picture():
            digests = [shop.run(DIGEST.format(name), timeout_s=5, max_rows=1).rows for name in ("customers", "orders")]
            names = shop.run("SELECT relname FROM pg_class ORDER BY 1", timeout_s=5, max_rows=1000).rows
            return digests, names

        before = picture()
        outcomes = list(judge_all([as_case(line) for line in LINES], server, timeout_s=3))
        assert picture() == before
    return {line["id"]: outcome for line, outcome in zip(LINES, outcomes, strict=True)}


def test_there_are_enough_cases_of_every_verdict():
    assert len(LINES) == len({line["id"] for line in LINES}) >= 300
    assert {line["verdict"] for line in LINES} == {"correct", "correct exact", "incorrect", "error", "rejected"}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["id"])
def test_verdict(verdicts, line):
    outcome = verdicts[line["id"]]
    assert f"{outcome.verdict} {'exact' if outcome.exact else ''}".strip() == line["verdict"], outcome
