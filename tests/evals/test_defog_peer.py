"""Verdicts against sql-eval's own functions, read from a checkout of defog-ai/sql-eval at its head.

WORKBENCH_SQL_EVAL=/path/to/sql-eval pytest -m peer tests/evals/test_defog_peer.py
"""

from __future__ import annotations

import importlib.util
import os
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.evals.defog import DefogGold, expand_as_defog, match_defog
from workbench.evals.defog_frames import Asked, Result, to_frame
from workbench.evals.sandbox import Table

pytestmark = pytest.mark.peer
QUESTIONS = ("How many?", "Sort the names", "In what order?", "The ordered ones")
VALUES = {
    "int": st.integers(-2, 2),
    "null": st.sampled_from([None, -99999, 1]),
    "numeric": st.sampled_from([Decimal(1), Decimal("1.5"), Decimal("NaN"), None]),
    "double": st.sampled_from([1.0, 1.000004, 1.0001, 0.0, 1e-9, float("inf"), float("nan")]),
    "bool": st.booleans(),
    "text": st.sampled_from(["a", "b", "1", "", None]),
    "date": st.sampled_from([date(2024, 1, 1), date(2024, 1, 2), None]),
    "timestamp": st.sampled_from([datetime(2024, 1, 1), datetime(2024, 1, 1, 5), None]),
    "array": st.lists(st.integers(0, 1), max_size=2),
}


@pytest.fixture(scope="module")
def sql_eval():
    """sql-eval's module; what it imports but these functions do not use (credentials, cloud clients) is replaced."""
    if not (place := os.environ.get("WORKBENCH_SQL_EVAL")):
        pytest.skip("set WORKBENCH_SQL_EVAL to a checkout of defog-ai/sql-eval")
    spec = importlib.util.spec_from_file_location("sql_eval", Path(place) / "eval" / "eval.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        while True:
            try:
                spec.loader.exec_module(module)
            except ModuleNotFoundError as missing:
                patch.setitem(sys.modules, missing.name, MagicMock())
            else:
                return module


@st.composite
def pairs(draw):
    """A gold and a candidate that came of it: other columns, rows, names, or an own table."""
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), max_size=4))
    gold = _table(draw, rows, len(kinds))
    picked = draw(st.permutations(range(len(kinds))))[: draw(st.integers(1, len(kinds)))]
    chosen = draw(st.permutations(rows)) if draw(st.booleans()) else rows
    chosen = [*chosen, *chosen[: draw(st.integers(0, 1))]][draw(st.integers(0, 1)) :]
    extra = draw(st.sampled_from([(), (7,), ("a",)]))
    candidate = [(*(row[at] for at in picked), *extra) for row in chosen]
    return gold, _table(draw, candidate, len(picked) + len(extra))


def _table(draw, rows, width):
    names = draw(st.lists(st.sampled_from("abcd"), min_size=width, max_size=width, unique=draw(st.booleans())))
    return Table([tuple(row) for row in rows], width, False, tuple(names))


@st.composite
def statements(draw):
    keys = draw(st.lists(st.sampled_from(["a", "t.b", "count(c)", "d DESC", "a ASC NULLS LAST"]), max_size=2))
    clause = draw(st.sampled_from(["ORDER BY ", "order by ", "ORDER BY\n"])) + ", ".join(keys) if keys else ""
    return f"SELECT 1 {clause}{draw(st.sampled_from(['', ' LIMIT 3', chr(10) + 'LIMIT 3', ';']))}"


def verdicts_of(sql_eval, golds, candidate, asked, sql):
    """``compare_query_results`` from where it has the results on; its runners count what raises as wrong."""
    correct = False
    try:
        for gold in golds:
            if sql_eval.compare_df(gold, candidate, asked.category, asked.question, asked.gold_sql, sql):
                return True, True
            if sql_eval.subset_df(gold, candidate, asked.category, asked.question):
                correct = True
    except Exception:  # as sql-eval's runners do
        return False, False
    return False, correct


@settings(max_examples=1500)
@given(
    st.lists(pairs(), min_size=1, max_size=2),
    st.sampled_from(QUESTIONS),
    st.sampled_from(["order_by", "ratio"]),
    statements(),
    statements(),
)
def test_verdicts_are_sql_evals(sql_eval, cases, question, category, gold_sql, sql):
    golds, candidate = [gold for gold, _ in cases], cases[-1][1]
    asked = Asked(question, category, gold_sql)
    expected = verdicts_of(sql_eval, [to_frame(gold) for gold in golds], to_frame(candidate), asked, sql)
    found = match_defog(DefogGold(asked, tuple(map(Result, golds)), broadcasting=True), candidate, sql)
    assert (found.exact, found.correct) == expected
    if all((len(gold.rows), gold.width) == (len(candidate.rows), candidate.width) for gold in golds):
        assert match_defog(DefogGold(asked, tuple(map(Result, golds))), candidate, sql) == found


@given(st.lists(st.sampled_from(["SELECT ", "{a, b}", "{", "}", ";", "GROUP BY {}", " FROM t", "';'", "{f(a,b),c}"])))
def test_expansion_is_sql_evals(sql_eval, parts):
    gold = "".join(parts)
    assert expand_as_defog(gold) == sql_eval.get_all_minimal_queries(gold)
