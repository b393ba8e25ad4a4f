"""Values: which mean the same, which do not, and doubles where tolerance chains up."""

import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evals.cells import (
    TOLERANCE,
    Json,
    Typed,
    alike,
    canonical,
    comparable,
    holds_double,
    may_be_equal,
    profile,
)

DEEP = "[" * 5000 + "]" * 5000


def equal(gold, candidate):
    if not holds_double([canonical(gold), canonical(candidate)]):
        return canonical(gold) == canonical(candidate)
    gold_keys, candidate_keys = comparable([canonical(gold)], [canonical(candidate)])
    return gold_keys == candidate_keys


@pytest.mark.parametrize(
    ("gold", "candidate"),
    [
        (Decimal("1e400"), Decimal("1e400")),
        (10**400, Decimal("1e400")),
        (Decimal("Infinity"), float("inf")),
        ([0.1], [Decimal("0.1")]),
        ([0.123456789012], [Decimal("0.123456789012")]),
        ([[1, 2.0]], [[1, Decimal(2)]]),
        (Json({"a": [1.5], "b": None}), Json({"b": None, "a": [Decimal("1.50")]})),
        (Typed("moment", "20000-01-01"), Typed("moment", "20000-01-01 00:00:00")),
        (Typed("moment", "20000-01-01"), Typed("moment", "20000-01-01 00:00:00+00")),
        (Typed("moment", "0044-03-15 BC"), Typed("moment", "0044-03-15 00:00:00 BC")),
        (Typed("moment", "infinity"), Typed("moment", "infinity")),
        (Typed("padded", "ab   "), "ab"),
        (Typed("json text", DEEP), Typed("json text", DEEP)),
        (time(12, tzinfo=UTC), time(14, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_values_that_mean_the_same(gold, candidate):
    assert equal(gold, candidate)
    assert equal(candidate, gold)


@pytest.mark.parametrize(
    ("gold", "candidate"),
    [
        (Decimal("1e400"), float("inf")),
        (Decimal("1e400"), Decimal("1e401")),
        (10**400, 10**400 + 1),
        (float("inf"), 1.7e308),
        (Decimal("0.1"), Decimal("0.1000000000001")),
        ([0.1], [Decimal("0.1000001")]),
        ([1, 2], [[1, 2]]),
        ([[1], [2]], [[1, 2]]),
        (["a", "b"], ["a,b"]),
        ([True], [1]),
        (Json({"a": 1}), Json(["a", 1])),
        (Json("x"), "x"),
        (Json(None), None),
        (Typed("moment", "infinity"), "infinity"),
        (Typed("moment", "20000-01-01"), Typed("moment", "20000-01-02")),
        (Typed("moment", "0044-03-15 BC"), date(44, 3, 15)),
        (Typed("time", "24:00:00"), time(0)),
        (Typed("padded", "ab"), "ab "),
        (timedelta(days=1), 1),
        (UUID(int=1), 1),
    ],
)
def test_values_that_differ(gold, candidate):
    assert not equal(gold, candidate)
    assert not equal(candidate, gold)


def test_text_that_stands_for_a_value_keeps_its_text():
    assert str(Typed("padded", "ab ")) == Typed("padded", "ab ") == "ab "


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_two_doubles_are_equal_within_the_tolerance_only(one, other):
    close = one == other or (
        abs(one) != float("inf") != abs(other) and abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
    )
    assert may_be_equal(profile([canonical(one)]), profile([canonical(other)])) >= close
    assert equal(one, other) == close == alike([canonical(one)], [canonical(other)])


def test_seconds_since_1970_are_told_apart_though_neighbours_are_within_the_tolerance():
    gold = [1.7e9 + second for second in range(100)]
    shuffled = random.Random(1).sample(gold, 100)
    noisy = [value * (1 + 1e-15) for value in gold]
    keys = [canonical(value) for value in gold]
    mine, theirs = comparable(keys, [canonical(value) for value in noisy])
    assert mine == theirs
    mine, theirs = comparable(keys, [canonical(value) for value in shuffled])
    assert mine != theirs
    assert sorted(mine) == sorted(theirs)
    mine, theirs = comparable(keys, [canonical(value - 50) for value in gold])
    assert sorted(mine) != sorted(theirs)


def test_sums_that_differ_by_rounding_are_one_value():
    mine, theirs = comparable([canonical(0.1 + 0.2), canonical(0.3)], [canonical(0.3), canonical(Decimal("0.3"))])
    assert set(mine) == set(theirs)
    assert len(set(mine)) == 1


def test_profiles_tell_apart_what_cannot_be_equal():
    cells = [canonical(value) for value in (1.0, Decimal(2), None, float("nan"), [0.5])]
    assert may_be_equal(profile(cells), profile(cells[::-1]))
    assert not may_be_equal(profile(cells), profile([*cells[1:], canonical(1.1)]))
    assert not may_be_equal(profile(cells), profile([*cells[:2], *cells[3:], canonical("x")]))


def test_doubles_are_found_inside():
    assert holds_double([canonical([[1, 2.5]])])
    assert not holds_double([canonical([1, "a"]), canonical(Decimal(1)), canonical(datetime(2024, 1, 1))])


def test_unknown_kinds_compare_by_text():
    assert canonical(range(3)) == ("text", "range(0, 3)")
