"""Comparison: laws that hold for any result, and the cases where sql-eval's own comparison is wrong."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.evals.cells import Json, canonical
from workbench.evals.comparison import Expected, Tie, compare

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.decimals(allow_infinity=False, places=2, min_value=-3, max_value=3),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "a", "b"]),
    st.dates(date(2024, 1, 1), date(2024, 1, 3)),
    st.datetimes(datetime(2024, 1, 1), datetime(2024, 1, 2)),
    st.lists(st.integers(0, 1), max_size=2),
)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[VALUES] * width), min_size=1, max_size=6))
SMALL = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[st.integers(0, 1)] * width), max_size=4))


def expected(rows, width=None, **more):
    return Expected(width or len(rows[0]), tuple(rows), more.pop("count", len(rows)), **more)


@given(TABLES)
def test_a_result_equals_itself(rows):
    assert compare(expected(rows), rows, len(rows[0])).exact


@given(TABLES, st.randoms(use_true_random=False))
def test_row_and_column_order_and_further_columns_do_not_matter(rows, rng):
    columns = rng.sample(range(len(rows[0])), len(rows[0]))
    shuffled = [("more", *(row[column] for column in columns)) for row in rng.sample(rows, len(rows))]
    assert compare(expected(rows), shuffled, len(rows[0]) + 1).correct


@given(TABLES, st.data())
def test_one_changed_cell_is_noticed(rows, data):
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(rows[0]) - 1))
    changed = [list(each) for each in rows]
    changed[row][column] = "no such value"
    assert not compare(expected(rows), changed, len(rows[0])).correct


@given(TABLES)
def test_a_missing_or_doubled_row_is_noticed(rows):
    width = len(rows[0])
    assert not compare(expected(rows), rows[1:], width).correct
    assert not compare(expected(rows), [*rows, rows[0]], width).correct
    assert not compare(expected(rows), [], width).correct


@given(SMALL, SMALL)
def test_agrees_with_brute_force(gold, candidate):
    width = len(gold[0]) if gold else 1
    wide = len(candidate[0]) if candidate else 1
    brute = len(gold) == len(candidate) and any(
        Counter(gold) == Counter(tuple(row[column] for column in mapping) for row in candidate)
        for mapping in permutations(range(wide), width)
    )
    assert compare(expected(gold, width), candidate, wide).correct == brute


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6), st.data())
@settings(max_examples=60)
def test_ties_agree_with_brute_force(rows, data):
    """Rows sorted by their first value, of which a LIMIT keeps some."""
    rows = sorted(rows, key=lambda row: row[0])
    count = data.draw(st.integers(1, len(rows)))
    candidate = data.draw(st.lists(st.sampled_from(rows), min_size=count, max_size=count))
    last = rows[count - 1][0]
    fixed = [row for row in rows if row[0] < last]
    tied = [row for row in rows if row[0] == last]
    right = any(Counter([*fixed, *chosen]) == Counter(candidate) for chosen in permutations(tied, count - len(fixed)))
    gold = Expected(2, tuple(fixed), count, None, (Tie(tuple(tied), count - len(fixed)),))
    assert compare(gold, candidate, 2).exact == right


@pytest.mark.parametrize(
    ("gold", "candidate"),
    [
        (1, Decimal("1.00")),
        (1, 1.0),
        (Decimal("0.1"), 0.1),
        (0.3, 0.1 + 0.2),
        (1e300, 1e300 * (1 + 1e-12)),
        (0.0, -0.0),
        (float("nan"), Decimal("NaN")),
        (float("inf"), Decimal("Infinity")),
        (None, None),
        (date(2024, 1, 1), datetime(2024, 1, 1)),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 1, 1, tzinfo=UTC)),
        ([1, None], [Decimal(1), None]),
        ([0.1], [Decimal("0.1")]),
        (Json({"a": 1, "b": [1.0]}), Json({"b": [Decimal(1)], "a": 1})),
        (10**400, Decimal(10**400)),
    ],
)
def test_values_that_mean_the_same(gold, candidate):
    assert compare(expected([(gold,)]), [(candidate,)], 1).exact
    assert compare(expected([(candidate,)]), [(gold,)], 1).exact


@pytest.mark.parametrize(
    ("gold", "candidate"),
    [
        (1, 2),
        (1, True),
        (0, None),
        (-99999, None),
        (None, float("nan")),
        (1, "1"),
        (Decimal("0.1"), Decimal("0.10000000001")),
        (10_000_000_000, 10_000_000_001),
        (1.0, 1.00001),
        (0.0, 1e-320),
        (float("inf"), 1e308),
        (float("inf"), float("-inf")),
        (date(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 1)),
        (date(2024, 1, 1), "2024-01-01"),
        ([1, 2], [2, 1]),
        ([], None),
        (Json(None), None),
        (Json({"a": 1}), Json({"a": 2})),
        ("a", "a "),
        (b"a", "a"),
    ],
)
def test_values_that_differ(gold, candidate):
    assert not compare(expected([(gold,)]), [(candidate,)], 1).correct


def test_an_empty_result_is_no_answer_to_a_full_one():
    assert compare(expected([(1,)]), [], 1).reason == "0 rows, the gold has 1"


def test_duplicates_count():
    assert not compare(expected([(1,), (1,), (2,)]), [(1,), (2,), (2,)], 1).correct


def test_columns_that_match_alone_but_not_together():
    assert not compare(expected([(1, "a"), (2, "b")]), [(1, "b"), (2, "a")], 2).correct


def test_pairing_columns_greedily_would_fail():
    gold = [(1, 1), (2, 1), (1, 2)]  # both columns have the same bag; only one pairing fits the rows
    assert compare(expected(gold), [(b, a) for a, b in gold], 2).correct
    skewed = [(1, 5), (2, 6), (1, 7)]
    assert compare(expected(skewed), [(1, 2, 5), (2, 1, 7), (1, 1, 6)], 3).reason == "values differ"
    assert compare(expected(skewed), [(2, 1, 5), (1, 2, 6), (1, 1, 7)], 3).correct


def test_fewer_columns_than_the_gold():
    assert compare(expected([(1, 2)]), [(1,)], 1).reason == "1 columns, the gold has 2"


def test_exactness():
    gold = expected([(1, "a")])
    assert compare(gold, [(1, "a")], 2).exact
    assert compare(gold, [("a", 1)], 2) == compare(gold, [("a", 1)], 2)
    assert compare(gold, [("a", 1)], 2).reason == "columns in another order"
    assert compare(gold, [(1, "a", 0)], 3).reason == "further columns"


def test_order_with_ties_may_swap_and_nothing_else():
    gold = expected([("a",), ("b",), ("c",)], groups=(0, 1, 1))
    assert compare(gold, [("a",), ("c",), ("b",)], 1).exact
    wrong = compare(gold, [("b",), ("a",), ("c",)], 1)
    assert not wrong.correct
    assert wrong.reason == "right rows in the wrong order"


def test_a_cut_tie_takes_any_of_its_rows_in_its_place():
    gold = Expected(1, (("a",),), 2, (0, 1), (Tie((("b",), ("c",)), 1, 1),))
    assert compare(gold, [("a",), ("c",)], 1).correct
    assert not compare(gold, [("c",), ("a",)], 1).correct
    assert not compare(gold, [("b",), ("c",)], 1).correct
    assert not compare(gold, [("a",), ("d",)], 1).correct


def test_doubles_in_two_columns_are_matched_by_row():
    gold = [(1.0, 5), (1.0 + 1e-12, 3)]
    assert compare(expected(gold), [(1.0, 3), (1.0, 5)], 2).correct


def test_many_alike_columns_do_not_explode():
    rng = random.Random(0)
    rows = [tuple(rng.randint(0, 1) for _ in range(12)) for _ in range(40)]
    flipped = [(*row[:-1], 1 - row[-1]) for row in rows]
    assert not compare(expected(rows), [row[::-1] for row in flipped], 12).correct
    same = [(1,) * 30] * 5
    assert compare(expected(same), same, 30).exact
    assert not compare(expected([(*row, 2) for row in same]), [(*row, 1) for row in same], 31).correct


def test_unknown_kinds_compare_by_text():
    assert canonical(range(3)) == ("text", "range(0, 3)")
