"""sql-eval's verdicts, reproduced. Expected values are those of sql-eval's own functions, which the peer test runs."""

from datetime import date, datetime
from decimal import Decimal

import pytest

from workbench.evals.cells import Json
from workbench.evals.defog import DefogGold, DefogMatch, expand_as_defog, match_defog, prepare_gold, wants_parameters
from workbench.evals.defog_frames import Asked, Result
from workbench.evals.golds import run_golds
from workbench.evals.sandbox import Table
from workbench.evals.sql_accuracy import Extras, score_predictions
from workbench.evals.statistics import summarize

RIGHT, PARTLY, WRONG = DefogMatch(True, True), DefogMatch(False, True), DefogMatch(False, False)


def table(names, *rows):
    return Table(list(rows), len(names.split()), False, tuple(names.split()))


def match(gold, candidate, *, question="how many", category="ratio", sqls=("SELECT", "SELECT"), broadcasting=False):
    golds = gold if isinstance(gold, tuple) else (gold,)
    asked = Asked(question, category, sqls[0])
    prepared = DefogGold(asked, tuple(one and Result(one) for one in golds), broadcasting)
    return match_defog(prepared, candidate, sqls[1])


PEOPLE = table("name age", ("Ada", 3), ("Bob", 1), ("Cy", 2))
ORDER = {"question": "List them", "category": "order_by"}
DUPLICATES = table("a", (1,), (1,), (2,))
NULLS = table("n", (1,), (None,), (2,))


@pytest.mark.parametrize(
    ("gold", "candidate", "options", "expected"),
    [
        (PEOPLE, PEOPLE, {}, RIGHT),
        (PEOPLE, table("name age", ("Cy", 2), ("Ada", 3), ("Bob", 1)), {}, RIGHT),  # rows in another order
        (PEOPLE, table("x y", ("Cy", 2), ("Ada", 3), ("Bob", 1)), {}, PARTLY),  # other names, which sort otherwise
        (PEOPLE, table("age name", (3, "Ada"), (1, "Bob"), (2, "Cy")), {}, RIGHT),  # columns sorted by name
        (PEOPLE, table("a b", (3, "Ada"), (1, "Bob"), (2, "Cy")), {}, RIGHT),  # by luck also these
        (PEOPLE, table("name age more", ("Ada", 3, 0), ("Bob", 1, 0), ("Cy", 2, 0)), {}, PARTLY),
        (PEOPLE, table("name age", ("Ada", 1), ("Bob", 3), ("Cy", 2)), {}, WRONG),  # each column alone would match
        (PEOPLE, table("name", ("Ada",), ("Bob",), ("Cy",)), {}, WRONG),
        (DUPLICATES, table("a", (2,), (1,)), {}, RIGHT),  # duplicates are dropped on both sides
        (DUPLICATES, table("a b", (1, 0), (1, 0), (2, 0)), {}, PARTLY),
        (DUPLICATES, table("a b", (1, 0), (2, 0)), {}, WRONG),  # but not before columns are paired
        (table("a", (1.0,)), table("a", (1.000009,)), {}, PARTLY),  # tolerance, where exact has none
        (table("a", (1.0,)), table("a", (1.00002,)), {}, WRONG),
        (table("a", (Decimal("0.1"),)), table("a", (0.1,)), {}, RIGHT),  # numeric is read as double
        (table("a", (1,)), table("a", (True,)), {}, RIGHT),
        (table("a", (1,)), table("a", ("1",)), {}, WRONG),
        (NULLS, table("n", (2,), (None,), (1,)), {}, RIGHT),  # NULL equals NULL
        (NULLS, table("n", (1,), (-99999,), (2,)), ORDER, RIGHT),  # and -99999, where rows are not sorted first
        (table("d", (date(2024, 1, 1),)), table("d", (datetime(2024, 1, 1),)), {}, WRONG),
        (table("n n", (1, 2), (3, 4)), table("n n", (1, 2), (3, 4)), {}, RIGHT),
        (table("n n", (1, 2), (3, 4)), table("n n", (3, 4), (1, 2)), {}, WRONG),  # two columns of one name: it crashes
        (table("a", ([1],), ([2],)), table("a", ([1],), ([2],)), {}, RIGHT),
        (table("a b", (1, [1]), (2, [2])), table("a b", (2, [2]), (1, [1])), {}, WRONG),  # lists have no hash
        (table("j", (Json({"x": Decimal("0.5")}),)), table("j", (Json({"x": Decimal("0.50")}),)), {}, RIGHT),
        (PEOPLE, PEOPLE, {"sqls": ("SELECT", "SELECT 5 % 2")}, WRONG),  # the driver wants a parameter
        # Greedy pairing: the gold's x takes p, which also fits y; y then takes nothing else.
        (table("x y", (1, 1), (2, 2)), table("p q", (1, 2), (2, 1)), {}, WRONG),
        (table("x y", (1, 2), (2, 1), (2, 2)), table("p q r", (2, 1, 0), (1, 2, 0), (2, 2, 0)), {}, PARTLY),
        # Order: kept where asked for, unless each frame is sorted by its own ORDER BY.
        (PEOPLE, table("name age", ("Cy", 2), ("Ada", 3), ("Bob", 1)), ORDER, WRONG),
        (PEOPLE, table("name age", ("Cy", 2), ("Ada", 3), ("Bob", 1)), {"question": "Arrange people"}, WRONG),
        (PEOPLE, table("name age", ("Cy", 2), ("Ada", 3), ("Bob", 1)), {"question": "The ordered people"}, RIGHT),
        (
            table("name age", ("Ada", 3), ("Cy", 2), ("Bob", 1)),
            table("name age", ("Bob", 1), ("Cy", 2), ("Ada", 3)),
            {**ORDER, "sqls": ("SELECT 1 ORDER BY t.age DESC", "SELECT 1 ORDER BY t.age LIMIT 9")},
            RIGHT,  # without ASC both are sorted downwards
        ),
        (
            table("name age", ("Ada", 3), ("Cy", 2), ("Bob", 1)),
            table("name age", ("Bob", 1), ("Cy", 2), ("Ada", 3)),
            {**ORDER, "sqls": ("SELECT 1 ORDER BY age DESC", "SELECT 1 ORDER BY age ASC")},
            WRONG,
        ),
        # Several golds: the first that raises ends the question, an exact match ends it too.
        ((table("a", (9,)), PEOPLE), PEOPLE, {}, RIGHT),
        ((PEOPLE, None), PEOPLE, {}, RIGHT),
        ((PEOPLE, None), table("name age more", ("Ada", 3, 0), ("Bob", 1, 0), ("Cy", 2, 0)), {}, WRONG),
        ((None, PEOPLE), PEOPLE, {}, WRONG),
    ],
)  # fmt: skip
def test_verdicts(gold, candidate, options, expected):
    assert match(gold, candidate, **options) == expected


@pytest.mark.parametrize(
    ("gold", "candidate", "before", "since"),
    [
        (table("a b", (1, 2)), table("x"), WRONG, RIGHT),  # an empty result
        (table("a b", (1, 2)), table("x y"), WRONG, RIGHT),
        (table("a b", (1, 2)), table("x y z"), WRONG, WRONG),
        (table("a", (1,), (2,)), table("x"), WRONG, WRONG),
        (table("a"), table("x", (1,)), WRONG, RIGHT),
        (table("a b"), table("x"), WRONG, RIGHT),
        (table("a b"), table("a b"), RIGHT, RIGHT),
        (table("a", (1,), (1,)), table("x y", (1, 1)), WRONG, RIGHT),
        (table("a", (1,), (1,)), table("x", (1,)), RIGHT, RIGHT),
    ],
)
def test_the_fault_of_may_2024_only_when_asked_for(gold, candidate, before, since):
    assert match(gold, candidate) == before
    assert match(gold, candidate, broadcasting=True) == since


@pytest.mark.parametrize(
    ("gold", "queries"),
    [
        ("SELECT {a,b} FROM t GROUP BY {} ;", ["SELECT a FROM t GROUP BY a", "SELECT b FROM t GROUP BY b",
                                               "SELECT a, b FROM t GROUP BY a, b"]),
        ("SELECT a;; SELECT b", ["SELECT a", "SELECT b"]),
        ("SELECT ';' FROM t", ["SELECT '", "' FROM t"]),
        ("SELECT {f(a, b)}", ["SELECT f(a", "SELECT  b)", "SELECT f(a,  b)"]),
        ("SELECT {a}GROUP BY {}", ["SELECT aGROUP BY {}"]),
        ("SELECT {a} group by {}", ["SELECT a group by {}"]),
        ("SELECT } {", ["SELECT } {"]),
    ],
)  # fmt: skip
def test_expansion_is_sql_evals(gold, queries):
    assert expand_as_defog(gold) == queries


@pytest.mark.parametrize(
    ("sql", "fails"),
    [
        ("SELECT 5 % 2", True),
        ("SELECT 1 WHERE a LIKE '%x' AND b = 'y'", False),
        ("SELECT 1 WHERE a ilike '%x' AND 5 % 2 = 1", True),
        ("SELECT 5 % 2 WHERE a LIKE 'x'", True),
        ("SELECT to_char(a, '99%')", True),
        ("SELECT 5 %% 2", False),
    ],
)
def test_percent_signs_the_driver_fails_on(sql, fails):
    assert wants_parameters(sql) is fails


def test_verdicts_carry_both_scores(ask, server):
    gold = "SELECT name, id FROM customer"
    answers = [
        gold,
        "SELECT id, city, name FROM customer",
        "SELECT id FROM customer",
        "SELECT name, id FROM customer, generate_series(1, 3)",  # more rows than the gold, all of them duplicates
        "SELECT name, id FROM customer WHERE 5 % 2 = 1",
        "SELECT nothing",
        "",
    ]
    questions = ask(*[gold] * len(answers))
    verdicts = score_predictions(questions, answers, server)
    found = [(verdict.verdict, verdict.defog_exact, verdict.defog_correct) for verdict in verdicts]
    assert found == [
        ("correct", True, True),
        ("correct", False, True),
        ("incorrect", False, False),
        ("incorrect", True, True),
        ("correct", False, False),
        ("error", False, False),
        ("rejected", False, False),
    ]
    scores = {score.name: (score.correct, score.total) for score in summarize(questions, verdicts)}
    assert (scores["sql_accuracy"], scores["defog_accuracy"], scores["defog_exact"]) == ((3, 7), (3, 7), (2, 7))


def test_scoring_repeats_the_fault_only_when_asked_for(ask, server):
    questions, answers = ask("SELECT COUNT(*) FROM customer"), ["SELECT 1 WHERE false"]
    for broadcasting in (False, True):
        (verdict,) = score_predictions(questions, answers, server, extras=Extras(broadcasting=broadcasting))
        assert (verdict.verdict, verdict.defog_correct) == ("incorrect", broadcasting)


def test_golds_are_kept_and_run_again_only_where_sql_eval_cuts_them_otherwise(ask, server):
    questions = ask("SELECT {id, name} FROM customer", "SELECT name FROM customer WHERE name <> 'a;b'")
    database = server.database(questions, "shop")
    golds = run_golds(list(questions.questions), database, 100)
    prepared = [prepare_gold(one, golds[one.id], database) for one in questions.questions]
    assert [len(one.results) for one in prepared] == [3, 2]
    assert tuple(result.table for result in prepared[0].results) == golds["0"].tables
    assert prepared[1].results == (None, None)  # cut at the semicolon, neither half runs
    assert prepare_gold(questions.questions[0], golds["0"], database).results is prepared[0].results
