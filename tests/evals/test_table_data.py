"""All rows of a database out and in again, whatever their types."""

import pytest

from workbench.errors import EvaluationError
from workbench.evals import table_data
from workbench.evals.table_data import Link, read_data, replacement_script

SCRIPT = r"""
CREATE SCHEMA "Odd schema";
CREATE TABLE parent (id integer PRIMARY KEY, name text UNIQUE, CHECK (id > 0 AND name <> 'bad'));
CREATE TABLE "Odd schema"."Child of" (
  id bigint GENERATED ALWAYS AS IDENTITY, parent_id integer REFERENCES parent, "Text" text, tags text[], note jsonb,
  twice integer GENERATED ALWAYS AS (parent_id * 2) STORED, at timestamptz, raw bytea
);
CREATE UNIQUE INDEX ON parent (lower(name));
INSERT INTO parent VALUES (1, 'a'), (2, NULL);
INSERT INTO "Odd schema"."Child of" (parent_id, "Text", tags, note, at, raw) VALUES
  (1, E'tab\tline\nback\\slash', '{"a,b",NULL}', '{"x": [1, null]}', '2024-01-01 00:00+00', '\x00ff'),
  (NULL, '\N', '{}', 'null', NULL, NULL);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM parent;
"""


@pytest.fixture(scope="module")
def odd(server):
    return server.keep("odd", SCRIPT)


def test_rows_come_with_what_the_catalog_says_of_them(odd):
    data = read_data(odd)
    parent, child = data.tables["public.parent"], data.tables['"Odd schema"."Child of"']
    assert (child.schema, child.name) == ("Odd schema", "Child of")
    assert [column.name for column in child.columns] == ["id", "parent_id", "Text", "tags", "note", "at", "raw"]
    assert [column.category for column in child.columns] == ["N", "N", "S", "A", "U", "D", "U"]
    assert (parent.rows, sorted(parent.keys), parent.checks) == (
        [["1", "a"], ["2", None]],
        [(0,), (0, 1), (1,)],
        ((0, 1),),
    )
    assert sorted(parent.places.values()) == [0, 1]
    assert data.links == (Link(child.quoted, (1,), parent.quoted, (0,)),)


def test_what_is_read_can_be_put_in_its_place(server, odd):
    data = read_data(odd)
    query = 'SELECT * FROM "Odd schema"."Child of" ORDER BY id'
    before = odd.run(query, timeout_s=5, max_rows=9).rows
    server.change(odd, replacement_script(data, {name: table.rows for name, table in data.tables.items()}))
    assert odd.run(query, timeout_s=5, max_rows=9).rows == before
    assert read_data(odd).tables == data.tables  # ctid starts again at the first page


def test_other_rows_replace_those_there_and_views_follow(server, odd):
    data = read_data(odd)
    rows = {name: table.rows for name, table in data.tables.items()}
    server.change(odd, replacement_script(data, rows | {"public.parent": [["5", "e"], ["6", "f"], ["7", None]]}))
    assert odd.run("SELECT n FROM counted", timeout_s=5, max_rows=9).rows == [(3,)]
    with pytest.raises(EvaluationError, match="unique"):
        server.change(odd, replacement_script(data, rows | {"public.parent": [["5", "e"], ["5", "f"]]}))
    server.change(odd, replacement_script(data, rows))


def test_a_large_database_is_not_read(odd, monkeypatch):
    monkeypatch.setattr(table_data, "MAX_BYTES", 20)
    assert read_data(odd) is None
