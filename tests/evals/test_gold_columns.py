"""What golds call columns, and which columns belong together."""

import pytest

from workbench.evals.gold_columns import Sources, copied_columns, find_links, parse
from workbench.evals.table_data import Column, Data, TableData


def table(name, columns, *rows, schema="public"):
    made = tuple(
        Column(one.rstrip("#"), one.rstrip("#"), *(("integer", "N") if "#" in one else ("text", "S")))
        for one in columns.split()
    )
    return TableData(f"{schema}.{name}", schema, name, made, [list(row) for row in rows], {})


def database(*tables):
    return Data({one.quoted: one for one in tables})


CITY = table("city", "id# name state", ("1", "Bonn", "NW"), ("2", "Mainz", "RP"), ("3", "Trier", "RP"))
SHOP = table("shop", "id# town# owner", ("7", "1", "Ann"), ("8", "1", "Bob"), ("9", "3", "Cy"))
DATA = database(CITY, SHOP)


def links(data, *golds, schema=""):
    name = lambda table, columns: f"{data.tables[table].name}.{data.tables[table].columns[columns[0]].name}"  # noqa: E731
    return {
        (name(one.table, one.columns), name(one.other, one.other_columns)) for one in find_links(data, golds, schema)
    }


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT c.name FROM city c", ("c", ("public.city", 1))),
        ("SELECT C.NAME FROM public.City AS C", ("c", ("public.city", 1))),
        ("SELECT owner FROM city, shop", ("shop", ("public.shop", 2))),
        ("SELECT id FROM city, shop", None),  # whose?
        ("SELECT x.name FROM (SELECT 1 AS name) AS x", None),
        ("SELECT (SELECT s.owner) FROM shop s", ("s", ("public.shop", 2))),  # of the query around
        ("SELECT nothing FROM city", None),
        ("WITH city2 AS (SELECT 1 AS name) SELECT name FROM city2", None),
    ],
)
def test_columns_are_resolved(sql, found):
    from sqlglot import exp

    assert Sources(DATA).find(next(iter(parse(sql).find_all(exp.Column)))) == found


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT 1 FROM city c JOIN shop s ON s.town = c.id",
        "SELECT 1 FROM city, shop WHERE city.id = town",
        "SELECT 1 FROM shop WHERE town IN (SELECT c.id FROM city c)",
        "SELECT 1 FROM shop s WHERE EXISTS (SELECT 1 FROM city c WHERE c.id = s.town)",
    ],
)
def test_golds_join(gold):
    assert links(DATA, gold) == {("city.id", "shop.town")}


def test_schemas_remark_and_names_say_it():
    assert links(DATA, "no SQL (") == set()
    assert links(DATA, schema="-- shop.town can be joined with city.id\n-- a.b can be joined with c.d") == {
        ("city.id", "shop.town")
    }
    named = table("visit", "city_id# place", ("1", "Bonn"), ("2", "Mainz"), ("2", "Trier"))
    assert links(database(CITY, named)) == {("city.id", "visit.city_id"), ("city.name", "visit.place")}
    assert links(database(CITY, table("visit", "city_id#", ("1",), ("4",)))) == set()  # there is no 4


def test_using_joins_by_name():
    other = table("mayor", "id# name", ("1", "Zoe"), ("5", "Yan"))
    assert links(database(CITY, other), "SELECT 1 FROM city JOIN mayor USING (id)") == {("city.id", "mayor.id")}


def test_a_column_that_repeats_another_is_known():
    repeated = table("sale", "city_id# state", ("1", "NW"), ("2", "RP"), ("2", "RP"))
    data = database(CITY, repeated)
    assert copied_columns(data, find_links(data, [], "")) == {"public.city": {2}, "public.sale": {1}}
    wrong = database(CITY, table("sale", "city_id# state", ("1", "NW"), ("2", "NW"), ("2", "RP")))
    assert copied_columns(wrong, find_links(wrong, [], "")) == {}
