"""How hard is a query? Spider's four classes, read off the gold SQL.

Yu et al. (Spider, EMNLP 2018) class a query by counting three things, here over a sqlglot tree:

* component 1: WHERE, GROUP BY, ORDER BY, LIMIT, every table after the first, every OR, every LIKE;
* component 2: queries nested in conditions, and set operations;
* others: one point each for more than one aggregate column, select column, where condition, group key.

The thresholds are those of ``eval_hardness`` in taoyds/test-suite-sql-eval. Spider's SQL has no CTE
and its parser counts no derived table and no scalar subquery; real Postgres questions are full of
them, so by default they count in component 2 too. ``hardness(sql, spider=True)`` counts as Spider does.

    >>> hardness("SELECT name FROM author")
    'easy'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import EvaluationError
from workbench.evals.parse_gate import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlglot import exp

CLASSES = ("easy", "medium", "hard", "extra")


def hardness(sql: str, *, spider: bool = False) -> str:
    """Spider's class of one Postgres query.

    Args:
        sql: one plain SELECT (expand sql-eval's ``;`` and ``{}`` first, see ``workbench.evals.golds``).
        spider: count as Spider itself does, without CTEs, derived tables and scalar subqueries.

    Returns:
        ``easy``, ``medium``, ``hard`` or ``extra``.

    Raises:
        EvaluationError: sqlglot cannot read the query.
    """
    select, set_operations = _first_select(_parse(sql))
    c1 = _component1(select)
    c2 = _component2(select, spider) + set_operations
    others = _others(select)
    if c1 <= 1 and others == 0 and c2 == 0:
        return "easy"
    if c2 == 0 and ((others <= 2 and c1 <= 1) or (c1 <= 2 and others < 2)):
        return "medium"
    if (c2 == 0 and others > 2 and c1 <= 2) or (c2 == 0 and c1 == 3 and others <= 2):
        return "hard"
    return "hard" if c1 <= 1 and others == 0 and c2 <= 1 else "extra"


def _parse(sql: str) -> exp.Expr:
    tree = parse(sql)
    if tree is None:
        raise EvaluationError(
            f"cannot class the hardness of {sql!r}, which sqlglot does not read; write it more plainly"
        )
    return tree


def _first_select(tree: exp.Expr) -> tuple[exp.Expr, int]:
    """The leftmost SELECT, which Spider looks at, and the number of set operations passed on the way."""
    from sqlglot import exp

    passed = 0
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        passed += isinstance(tree, exp.SetOperation)
        tree = tree.this
    return tree, passed


def _own(node: exp.Expr | None, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """Nodes of these kinds below ``node`` that do not belong to a nested query."""
    from sqlglot import exp

    if node is None:
        return
    for found in node.walk(prune=lambda at: isinstance(at, exp.Query)):
        if isinstance(found, kinds):
            yield found


def _conditions(select: exp.Expr) -> list[exp.Expr]:
    """ON, WHERE and HAVING conditions of one SELECT."""
    joins = [join.args["on"] for join in select.args.get("joins") or [] if join.args.get("on")]
    return joins + [select.args[key] for key in ("where", "having") if select.args.get(key)]


def _component1(select: exp.Expr) -> int:
    from sqlglot import exp

    clauses = sum(bool(select.args.get(key)) for key in ("where", "group", "order", "limit"))
    words = sum(1 for part in _conditions(select) for _ in _own(part, exp.Or, exp.Like, exp.ILike))
    return clauses + len(select.args.get("joins") or []) + words


def _component2(select: exp.Expr, spider: bool) -> int:
    """Queries nested one level down (Spider does not look inside them): in conditions, or anywhere."""
    from sqlglot import exp

    parts = _conditions(select) if spider else select.iter_expressions()
    return sum(1 for part in parts for _ in _own(part, exp.Query))


def _others(select: exp.Expr) -> int:
    from sqlglot import exp

    aggregates = sum(any(_own(column, exp.AggFunc)) for column in select.expressions)
    where = select.args.get("where")
    conditions = 1 + sum(1 for _ in _own(where, exp.And, exp.Or)) if where else 0
    group = select.args.get("group")
    keys = len(group.expressions) if group else 0
    return sum(count > 1 for count in (aggregates, len(select.expressions), conditions, keys))
