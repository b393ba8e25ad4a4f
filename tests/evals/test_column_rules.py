"""Rules among columns, found in rows."""

import pytest

from workbench.evals.column_rules import dependent_pairs
from workbench.evals.table_data import Column, TableData

TYPES = {"n": ("numeric", "N"), "d": ("date", "D"), "t": ("text", "S")}


def table(kinds, *rows, checks=()):
    columns = tuple(Column(f"c{at}", f"c{at}", *TYPES[kind]) for at, kind in enumerate(kinds))
    return TableData("public.t", "public", "t", columns, [list(row) for row in rows], {}, (), checks)


def together(found):
    return {frozenset(pair) for pair in found}


@pytest.mark.parametrize(
    ("kinds", "rows"),
    [
        ("tt", [("x", "1"), ("x", "1"), ("x", "1"), ("y", "2"), ("y", "2")]),  # a city follows from its code
        ("tt", [("new", None), ("new", None), ("paid", "1"), ("paid", "2"), ("new", None)]),  # when paid
        ("td", [("2020", "2020-05-01"), ("2021", "2021-01-03"), ("2020", "2020-06-07")]),  # a year of a date
        ("tt", [("Smith", "Ann Smith"), ("Jones", "B. Jones"), ("Poe", "C. Poe"), ("Brown", "D. Brown")][:2]),
        (
            "dd",
            [("2020-01-01", "2020-03-01"), ("2020-02-01", "2020-02-01"), ("2020-02-15", "2020-02-20")],
        ),  # start and end
    ],
)
def test_a_rule_ties_two_columns(kinds, rows):
    assert together(dependent_pairs(table(kinds, *rows), set())) == {frozenset((0, 1))}


def test_sums_and_products_tie_three():
    rows = [(a, b, f"{float(a) * float(b):.2f}") for a, b in [("3", "9.5"), ("8", "1.25"), ("0.5", "20"), ("5", "7")]]
    assert together(dependent_pairs(table("nnn", *rows), set())) == {frozenset((0, 1)), frozenset((0, 2))}
    assert together(dependent_pairs(table("nnn", *rows), {0})) == set()  # an identifier is no amount


def test_a_check_ties_its_columns():
    rows = [("1", "5"), ("7", "2"), ("3", "3")]
    assert dependent_pairs(table("nn", *rows, checks=((0, 1),)), set()) == {(0, 1)}


@pytest.mark.parametrize(
    "rows",
    [
        [("x", "1"), ("x", "2"), ("y", "1"), ("y", "2")],
        [("a", "1"), ("b", "2"), ("c", "3")],  # all different: nothing to see
        [("x", "1"), ("x", "1"), ("y", "2"), ("z", "1")],  # once, which luck would do
        [("x", "1"), ("y", "1"), ("x", "1")],  # a constant follows from all
        [],
    ],
)
def test_no_rule(rows):
    assert dependent_pairs(table("tt", *rows), set()) == set()
