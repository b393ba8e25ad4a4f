"""Expansion of sql-eval's golds, and what a gold's answer accepts once run."""

import csv
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import EvaluationError
from workbench.evals.golds import expand, run_golds
from workbench.evals.ordering import with_sort_keys

CLASSIC = Path(__file__).parents[2] / "../shared/data/sql-eval/questions_gen_postgres.csv"


def test_the_classic_questions_expand_to_367_queries():
    if not CLASSIC.is_file():
        pytest.skip(f"{CLASSIC} is not there")
    with CLASSIC.open(newline="", encoding="utf-8") as handle:
        golds = [row["query"] for row in csv.DictReader(handle)]
    queries = [expand(gold) for gold in golds]
    assert len(golds) == 210
    assert sum(map(len, queries)) == 367
    assert not any(brace in sql for each in queries for sql in each for brace in "{}")


@pytest.mark.parametrize(
    ("gold", "queries"),
    [
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT a;SELECT b;", ["SELECT a", "SELECT b"]),
        ("SELECT ';{a,b}' FROM t", ["SELECT ';{a,b}' FROM t"]),
        (
            "SELECT '{1,2}'::int[], {a, b} FROM t",
            ["SELECT '{1,2}'::int[], " + x + " FROM t" for x in ("a", "b", "a, b")],
        ),
        (
            "SELECT {a,b}, COUNT(*) FROM t GROUP BY {} ORDER BY 2",
            [f"SELECT {x}, COUNT(*) FROM t GROUP BY {x} ORDER BY 2" for x in ("a", "b", "a, b")],
        ),
        (
            "SELECT {f(a, b), 'x,y'} FROM t",
            ["SELECT f(a, b) FROM t", "SELECT 'x,y' FROM t", "SELECT f(a, b), 'x,y' FROM t"],
        ),
        ("-- nothing", []),
    ],
)
def test_expansion(gold, queries):
    assert expand(gold) == queries


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
def test_every_non_empty_subset_once(columns):
    queries = expand("SELECT {" + ",".join(columns) + "} FROM t")
    subsets = [", ".join(some) for size in range(1, 5) for some in combinations(columns, size)]
    assert queries == [f"SELECT {subset} FROM t" for subset in subsets]


@pytest.mark.parametrize(
    ("sql", "rewritten", "keys"),
    [
        ("SELECT a FROM t ORDER BY b", "SELECT a, b AS workbench_sort_0 FROM t ORDER BY b", (-1,)),
        ("SELECT a FROM t ORDER BY A", "SELECT a FROM t ORDER BY A", (0,)),
        ("SELECT a, b FROM t ORDER BY 2, t.a", "SELECT a, b, t.a AS workbench_sort_0 FROM t ORDER BY 2, t.a", (1, -1)),
        ("SELECT COUNT(*) FROM t ORDER BY COUNT(*)", "SELECT COUNT(*) FROM t ORDER BY COUNT(*)", (0,)),
        (
            "SELECT a AS x FROM t ORDER BY x LIMIT 2",
            "SELECT a AS x FROM t ORDER BY x FETCH FIRST 2 ROWS WITH TIES",
            (0,),
        ),
        ("SELECT a FROM t LIMIT 2", "SELECT a FROM t", ()),
        ("(SELECT a FROM t LIMIT 1 + 1)", "SELECT a FROM t", ()),
        (
            "SELECT a FROM t ORDER BY 1 OFFSET 3 LIMIT 9",
            "SELECT a FROM t ORDER BY 1 FETCH FIRST 5 ROWS WITH TIES",
            (0,),
        ),
        (
            "SELECT DISTINCT ON (c) a FROM t ORDER BY c",
            "SELECT DISTINCT ON (c) a, c AS workbench_sort_0 FROM t ORDER BY c",
            (-1,),
        ),
        ("SELECT * FROM t UNION SELECT * FROM u ORDER BY b", "SELECT * FROM t UNION SELECT * FROM u ORDER BY b", (1,)),
        (
            "SELECT a FROM t UNION SELECT b FROM t ORDER BY a FETCH FIRST 2 ROWS ONLY",
            "SELECT a FROM t UNION SELECT b FROM t ORDER BY a FETCH FIRST 2 ROWS WITH TIES",
            (0,),
        ),
    ],
)
def test_sort_keys(sql, rewritten, keys):
    names = ["x"] if " AS x" in sql else ["a", "b"] if "a, b" in sql or "*" in sql else ["a"]
    ordered = with_sort_keys(sql, names if "COUNT" not in sql else ["count"], 2)
    assert (ordered.sql, ordered.keys) == (rewritten, keys)


def test_golds_without_order_or_limit_are_left_as_they_are():
    assert with_sort_keys("SELECT a FROM (SELECT a FROM t ORDER BY b) AS s", ["a"], 1) is None
    assert with_sort_keys("SELECT sqlglot cannot read (this ORDER BY a)", ["a"], 1) is None


@pytest.mark.parametrize(
    "sql", ["SELECT a FROM t ORDER BY a OFFSET 1 + 1", "SELECT sqlglot cannot read) this ORDER BY a"]
)
def test_golds_that_sort_in_a_way_that_cannot_be_followed(sql):
    ordered = with_sort_keys(sql, ["a"], 1)
    assert (ordered.sql, ordered.sorts) == ("", True)


def answers(ask, shop, *golds, ordered=False):
    return [gold.answers[0] for gold in run_golds(list(ask(*golds, ordered=ordered).questions), shop, 1000).values()]


def test_sort_groups_come_from_keys_that_are_not_shown(ask, shop):
    (answer,) = answers(ask, shop, "SELECT name FROM customer ORDER BY joined", ordered=True)
    assert answer.rows == (("Ada",), ("Bob",), ("Cy",), ("Di",))
    assert answer.groups == (0, 1, 1, 2)


def test_order_is_left_out_unless_the_question_asks(ask, shop):
    (answer,) = answers(ask, shop, "SELECT name FROM customer ORDER BY joined")
    assert answer.groups is None


def test_a_limit_that_cuts_a_tie_accepts_both(ask, shop):
    (answer,) = answers(ask, shop, "SELECT name FROM customer ORDER BY joined LIMIT 2")
    assert answer.rows == (("Ada",),)
    (tie,) = answer.ties
    assert (sorted(tie.rows), tie.count) == ([("Bob",), ("Cy",)], 1)
    assert answer.count == 2


def test_an_offset_that_cuts_a_tie_accepts_both(ask, shop):
    first, second = answers(
        ask,
        shop,
        "SELECT name FROM customer ORDER BY joined OFFSET 2",
        "SELECT name FROM customer ORDER BY joined OFFSET 1 LIMIT 1",
    )
    assert first.rows == (("Di",),)
    assert [(sorted(tie.rows), tie.count) for tie in first.ties] == [([("Bob",), ("Cy",)], 1)]
    assert (second.rows, second.ties[0].count, second.count) == ((), 1, 1)


def test_a_limit_without_order_accepts_any_rows(ask, shop):
    (answer,) = answers(ask, shop, "SELECT name FROM customer LIMIT 2")
    assert (answer.rows, len(answer.ties[0].rows), answer.count) == ((), 4, 2)


def test_offsets_and_clean_cuts_stay_plain(ask, shop):
    first, second = answers(
        ask, shop, "SELECT id FROM customer ORDER BY id LIMIT 2", "SELECT id FROM customer ORDER BY id LIMIT 2 OFFSET 1"
    )
    assert (first.rows, first.ties) == (((1,), (2,)), ())
    assert (second.rows, second.ties) == (((2,), (3,)), ())


def test_a_gold_that_fails_is_an_error_of_the_question_set(ask, shop):
    with pytest.raises(EvaluationError, match="correct its gold"):
        answers(ask, shop, "SELECT nothing FROM customer")


def test_a_gold_that_returns_too_much_is_an_error(ask, shop):
    with pytest.raises(EvaluationError, match="over 1000 rows"):
        answers(ask, shop, "SELECT * FROM generate_series(1, 1001)")


@pytest.mark.parametrize(
    ("gold", "weak"),
    [
        ("SELECT id FROM customer WHERE id > 9", "empty"),
        ("SELECT city FROM customer WHERE city IS NULL", "all NULL"),
        ("SELECT COUNT(*) FROM customer", "single cell"),
        ("SELECT id FROM customer", ""),
    ],
)
def test_weak_golds_are_flagged(ask, shop, gold, weak):
    assert run_golds(list(ask(gold).questions), shop, 1000)["0"].weak == weak
