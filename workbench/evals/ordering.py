"""A gold's sort keys, and the rows a LIMIT left out although they tie.

``SELECT name FROM t ORDER BY score LIMIT 3`` does not show the score, so its result does not tell which rows
may swap, nor whether a fourth row was as good as the third. ``with_sort_keys`` rewrites the gold so that it does:
sort keys that are no columns of the result are appended as columns, and LIMIT becomes ``FETCH FIRST n ROWS
WITH TIES`` (or goes, where nothing is sorted and so every row ties). The rewritten query is an aid: the caller
checks its answer against the plain gold's and does without it where they disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp


@dataclass(frozen=True)
class Ordered:
    """A rewritten gold.

    Attributes:
        sql: with sort keys appended and without a bare LIMIT.
        keys: columns of the sort keys, as Python indexes into its rows (negative from the end).
        appended: number of its last columns that are no part of the answer.
        sorts: whether the gold has an ORDER BY at its top level.
        limits: whether it has a LIMIT.
    """

    sql: str
    keys: tuple[int, ...]
    appended: int
    sorts: bool
    limits: bool


def with_sort_keys(sql: str) -> Ordered | None:
    """Rewrite one gold; ``None`` when it neither sorts nor limits, or in a way this cannot follow."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree: Any = sqlglot.parse_one(sql, dialect="postgres")
    except (SqlglotError, RecursionError):
        return None
    order, limit = tree.args.get("order"), tree.args.get("limit")
    if not isinstance(tree, exp.Query) or not (order or limit):
        return None
    count = _limit_count(limit)
    keys = _append_keys(tree, [item.this for item in order.expressions] if order else [])
    if (limit and count is None) or keys is None:
        return None
    tree.set("limit", None)
    text = tree.sql(dialect="postgres")
    if order and limit:
        text += f" FETCH FIRST {count} ROWS WITH TIES"
    return Ordered(text, keys, sum(key < 0 for key in keys), bool(order), bool(limit))


def _limit_count(limit: exp.Expr | None) -> int | None:
    """The number of a LIMIT or FETCH FIRST that is plainly written."""
    from sqlglot import exp

    count = limit.args.get("expression") or limit.args.get("count") if limit else None
    return int(count.this) if isinstance(count, exp.Literal) and count.is_int else None


def _append_keys(tree: Any, sort_keys: list[exp.Expr]) -> tuple[int, ...] | None:
    """Column of each sort key, appending to ``tree`` those that are none of its columns yet."""
    from sqlglot import exp

    found = [_position(tree, key) for key in sort_keys]
    missing = [key.copy() for key, place in zip(sort_keys, found, strict=True) if place is None]
    if missing and (not isinstance(tree, exp.Select) or tree.args.get("distinct")):
        return None
    for number, key in enumerate(missing):
        tree.select(exp.alias_(key, f"workbench_sort_{number}"), append=True, copy=False)
    appended = iter(range(-len(missing), 0))
    return tuple(next(appended) if place is None else place for place in found)


def _position(tree: Any, key: exp.Expr) -> int | None:
    """Index of the column a sort key names: by number, by name, or by the same expression."""
    from sqlglot import exp

    if isinstance(key, exp.Literal) and key.is_int:
        return int(key.this) - 1
    starred = any(column.is_star for column in tree.selects)
    names = [name.lower() for name in tree.named_selects]
    if isinstance(key, exp.Column) and not key.table and names.count(key.name.lower()) == 1 and not starred:
        return names.index(key.name.lower())
    plain = [column.unalias() for column in tree.selects]
    return plain.index(key) if key in plain and not starred else None
