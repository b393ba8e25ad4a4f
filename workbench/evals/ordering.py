"""A gold's sort keys, and the rows a LIMIT or OFFSET left out although they tie.

``SELECT name FROM t ORDER BY score LIMIT 3`` does not show the score, so its result does not tell which rows
may swap, nor whether a fourth row was as good as the third. ``with_sort_keys`` rewrites the gold so that it does:
sort keys that are no columns of the result are appended as columns, OFFSET goes, and LIMIT becomes ``FETCH FIRST n
ROWS WITH TIES`` (or goes too, where nothing is sorted and so every row ties). The rewritten query is an aid: the
caller checks its answer against the plain gold's and does without it where they disagree.

    >>> with_sort_keys("SELECT a FROM t ORDER BY b LIMIT 2", ["a"], 2).sql
    'SELECT a, b AS workbench_sort_0 FROM t ORDER BY b FETCH FIRST 2 ROWS WITH TIES'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.evals.parse_gate import parse
from workbench.evals.tokens import mask

if TYPE_CHECKING:
    from sqlglot import exp

_INNERMOST = re.compile(r"\([^()]*\)")
_ORDER_BY = re.compile(r"\border\s+by\b", re.IGNORECASE)


@dataclass(frozen=True)
class Ordered:
    """What is known of a gold that sorts, or cuts rows off.

    Attributes:
        sql: rewritten; empty where this cannot follow it.
        keys: columns of the sort keys, as Python indexes into its rows (negative from the end).
        appended: number of its last columns that are no part of the answer.
        sorts: whether the gold has an ORDER BY at its top level.
        cuts: whether it has a LIMIT or an OFFSET there.
        skipped: number of its first rows that an OFFSET leaves out of the answer.
    """

    sql: str
    keys: tuple[int, ...]
    appended: int
    sorts: bool
    cuts: bool
    skipped: int = 0


def with_sort_keys(sql: str, names: Sequence[str], count: int) -> Ordered | None:
    """Rewrite one gold.

    Args:
        sql: the gold.
        names: of the columns of its result.
        count: number of rows of its result.

    Returns:
        ``None`` when it neither sorts nor cuts.
    """
    tree = _parse(sql)
    if tree is None:
        return Ordered("", (), 0, True, False) if _says_order_by(sql) else None
    order, limit, offset = (tree.args.get(part) for part in ("order", "limit", "offset"))
    if not (order or limit or offset):
        return None
    keys = _append_keys(tree, [item.this for item in order.expressions] if order else [], names)
    skipped = _integer(offset) if offset else 0
    if keys is None or skipped is None:
        return Ordered("", (), 0, bool(order), bool(limit or offset))
    tree.set("limit", None)
    tree.set("offset", None)
    text = tree.sql(dialect="postgres")
    if order and limit:
        text += f" FETCH FIRST {skipped + count} ROWS WITH TIES"
    return Ordered(text, keys, sum(key < 0 for key in keys), bool(order), bool(limit or offset), skipped)


def _parse(sql: str) -> Any:
    """The tree of one query, out of its brackets; ``None`` when sqlglot cannot read it."""
    from sqlglot import exp

    tree: Any = parse(sql)
    while isinstance(tree, exp.Subquery) and not any(value for part, value in tree.args.items() if part != "this"):
        tree = tree.this
    return tree if isinstance(tree, exp.Query) else None


def _says_order_by(sql: str) -> bool:
    """Whether an ORDER BY stands outside all brackets."""
    shape = mask(sql)
    while (outside := _INNERMOST.sub(" ", shape)) != shape:
        shape = outside
    return bool(_ORDER_BY.search(shape))


def _integer(offset: exp.Expr) -> int | None:
    from sqlglot import exp

    number = offset.args.get("expression")
    return int(number.this) if isinstance(number, exp.Literal) and number.is_int else None


def _append_keys(tree: Any, sort_keys: list[exp.Expr], names: Sequence[str]) -> tuple[int, ...] | None:
    """Column of each sort key, appending to ``tree`` those that are none of its columns yet."""
    from sqlglot import exp

    found = [_position(tree, key, names) for key in sort_keys]
    missing = [key.copy() for key, place in zip(sort_keys, found, strict=True) if place is None]
    if missing and not isinstance(tree, exp.Select):
        return None
    for number, key in enumerate(missing):  # with DISTINCT too, where a sort key must be a column already
        tree.select(exp.alias_(key, f"workbench_sort_{number}"), append=True, copy=False)
    appended = iter(range(-len(missing), 0))
    return tuple(next(appended) if place is None else place for place in found)


def _position(tree: Any, key: exp.Expr, names: Sequence[str]) -> int | None:
    """Index of the column a sort key names: by number, by name, or by the same expression."""
    from sqlglot import exp

    if isinstance(key, exp.Literal) and key.is_int:
        return int(key.this) - 1
    if isinstance(key, exp.Column) and not key.table:
        name = key.name if key.this.args.get("quoted") else key.name.lower()
        if list(names).count(name) == 1:
            return list(names).index(name)
    starred = any(column.is_star for column in tree.selects)
    plain = [column.unalias() for column in tree.selects]
    return plain.index(key) if key in plain and not starred else None
