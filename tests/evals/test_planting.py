"""Values that golds compare with."""

import pytest

from workbench.evals.planting import Plant, plants, seeded
from workbench.evals.table_data import read_data


@pytest.fixture(scope="module")
def data(shop):
    return read_data(shop)


@pytest.mark.parametrize(
    ("gold", "planted"),
    [
        ("SELECT 1 FROM customer WHERE name = 'Eve' AND city ILIKE '%new _ork%'",
         [("public.customer", 1, "Eve"), ("public.customer", 2, "new aork")]),
        ("SELECT 1 FROM customer c WHERE LOWER(c.name) LIKE 'x%'", [("public.customer", 1, "x")]),
        ("SELECT 1 FROM purchase WHERE amount BETWEEN 1 AND 2.5 + 1",
         [("public.purchase", 2, "1.00"), ("public.purchase", 2, "3.50")]),
        ("SELECT COUNT(*) FILTER (WHERE amount > 7) FROM purchase", [("public.purchase", 2, "7.00")]),
        ("SELECT 1 FROM customer WHERE joined >= '2024-01-01'::date - interval '1 day'",
         [("public.customer", 3, "2023-12-31")]),
        ("SELECT 1 FROM customer WHERE city IN ('a\tb', 'c')",
         [("public.customer", 2, r"a\tb"), ("public.customer", 2, "c")]),
        ("SELECT 1 FROM purchase WHERE paid = TRUE", [("public.purchase", 5, "true")]),
        ("SELECT 1 FROM customer WHERE joined = 'never'", []),  # no date
        ("SELECT 1 FROM customer c, purchase p WHERE c.id = p.customer_id AND amount > (SELECT 5 FROM purchase)",
         []),
        ("SELECT (", []),
    ],
)  # fmt: skip
def test_constants_become_values_of_the_column(data, shop, gold, planted):
    found = [Plant((table, column), text) for table, column, text in planted]
    assert sorted(plants(data, [gold], shop), key=repr) == sorted(found, key=repr)


def test_joined_rows_are_made_to_match(data, shop):
    gold = (
        "SELECT SUM(p.amount) FROM customer AS C JOIN purchase p ON C.id = p.customer_id AND p.paid "
        "WHERE c.name = 'Nobody' AND p.amount > 99 AND p.at < '2000-01-01'"
    )
    free = {"public.customer": {1}, "public.purchase": {2, 4}}
    changed, held = seeded(data, [gold], shop, free)
    assert {table: len(rows) for table, rows in held.items()}.keys() == {"public.customer", "public.purchase"}
    customers, purchases = changed.tables["public.customer"].rows, changed.tables["public.purchase"].rows
    for at in held["public.purchase"]:
        row = purchases[at]
        assert (row[2], row[4]) == ("100.00", "1999-12-31 00:00:00")
        assert any(customers[one][:2] == [row[1], "Nobody"] for one in held["public.customer"])
    assert data == read_data(shop)


def test_columns_that_are_not_free_are_left_alone(data, shop):
    changed, held = seeded(
        data, ["SELECT 1 FROM customer WHERE id = 99 AND name = 'x'"], shop, {"public.customer": {1}}
    )
    assert held["public.customer"]
    assert {row[0] for row in changed.tables["public.customer"].rows} == {"1", "2", "3", "4"}
