"""Whether a gold's answer on other rows tells a right query from a lucky one.

It tells nothing if it is the same there as on the given rows, nor if it is empty or all NULL there: another query may
come to that for another reason. Nor may it hang on a tie, which any of the tied rows may win: ``LIMIT 1`` among equal
sort keys, at the top or inside, or a value compared with ``(SELECT MAX(x) ...)`` that several rows have. Golds with
such ties are run once more ``WITH TIES``; if that makes another answer of it, the toss decided.

    tells(gold_on_the_given_rows, gold_on_others) and not tossed(question, gold_on_others, database)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.evals.comparison import compare
from workbench.evals.gold_columns import parse
from workbench.evals.golds import Gold, expand, weakness
from workbench.evals.sandbox import MOST_ROWS, QueryFailed

if TYPE_CHECKING:
    from workbench.evals.postgres import Database
    from workbench.questions import Question

PROBE_TIMEOUT_S = 10.0


def tells(given: Gold, other: Gold) -> bool:
    """Whether a match on the given rows says nothing about a match on the other ones.

    Each weak answer must have another there, neither empty nor all NULL, and not won by a tie that was none before.
    """
    for table, answer, new, expected in zip(given.tables, given.answers, other.tables, other.answers, strict=True):
        if not weakness(table):
            continue
        if weakness(new) in ("empty", "all NULL") or (expected.ties and not answer.ties):
            return False
        if any(compare(one, table.rows, table.width).correct for one in other.answers):
            return False
    return True


def tossed(question: Question, gold: Gold, database: Database) -> bool:
    """Whether a tie inside a gold decides its answer there: with the tied rows it would be another.

    ``WHERE x = (SELECT MAX(x) ...)`` with several rows is a tie too, of which ``LIMIT 1`` would show one.
    """
    for sql, answer in zip(expand(question.query), gold.answers, strict=True):
        if answer.count > 1 and picks_extremes(sql):
            return True
        probe = with_inner_ties(sql)
        if probe is None:
            continue
        try:
            table = database.run(probe, timeout_s=PROBE_TIMEOUT_S, max_rows=MOST_ROWS)
        except QueryFailed:  # of a value, two rows
            return True
        if not compare(answer, table.rows, table.width).correct:
            return True
    return False


def picks_extremes(sql: str) -> bool:
    """Whether a query compares with a maximum or minimum from a query inside it."""
    from sqlglot import exp

    tree: Any = parse(sql)
    selects = [] if tree is None else [select for select in tree.find_all(exp.Select) if select is not tree]
    return any(select.find(exp.Max, exp.Min, exp.Limit, exp.Fetch) for select in selects)


def with_inner_ties(sql: str) -> str | None:
    """A query with WITH TIES for each LIMIT below its top level; ``None`` where there is none."""
    from sqlglot import exp

    tree: Any = parse(sql)
    if tree is None:
        return None
    tree = tree.copy()
    inner = [select for select in tree.find_all(exp.Select) if select is not tree and select.args.get("limit")]
    for select in inner:
        count = select.args["limit"].args.get("expression") or select.args["limit"].args.get("count")
        ties = exp.LimitOptions(with_ties=True, rows=True) if select.args.get("order") else None
        select.set("limit", exp.Fetch(direction="FIRST", count=count.copy(), limit_options=ties) if ties else None)
    return str(tree.sql(dialect="postgres")) if inner else None
