"""Values a gold compares with, planted into the rows of the second copy.

Leaving out rows and shuffling columns makes no new values. So a gold that finds nothing would go on finding nothing,
and no row would lie on the very limit that tells ``>`` from ``>=``. From each ``column = 'x'``, ``column > 5``,
``column ILIKE '%x%'`` ... of a weak gold come values of the column's type, computed by Postgres itself:

* ``Plant``: the value compared with, for any row of the column;
* ``seeded``: for golds that find nothing (empty, all NULL, zero), rows that its joins bring together, in which every
  compared column gets a value that satisfies the comparison. They are then left alone by all other changes.

Only columns that no rule ties to others take a plant; what such a column held elsewhere it still holds.

    found = plants(data, weak_golds, database)
    changed, protected = seeded(data, empty_golds, database, free)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.evals.gold_columns import Place, Sources, parse
from workbench.evals.sandbox import QueryFailed
from workbench.evals.table_data import Column, Data, Row

if TYPE_CHECKING:
    from workbench.evals.postgres import Database
    from workbench.evals.sandbox import Session

TIMEOUT_S = 5.0
ROWS_SEEDED = 2  # joined rows for each gold that finds nothing
Free = Mapping[str, set[int]]  # columns by table that may take any value


@dataclass(frozen=True)
class Plant:
    """A value, as COPY writes it, for a column."""

    place: Place
    text: str


@dataclass(frozen=True)
class _Comparison:
    """A column compared with something that no column takes part in."""

    alias: str
    place: Place
    limit: str  # SQL of the value compared with
    satisfying: str  # SQL of a value for which the comparison holds


def plants(data: Data, golds: Iterable[str], database: Database) -> list[Plant]:
    """The values that golds compare columns with, each once.

    Raises:
        EvaluationError: the server is gone.
    """
    session = database.session(TIMEOUT_S)
    try:
        wanted = {(one.place, one.limit): None for sql in golds for one in _comparisons(data, sql)}
        found = [Plant(place, text) for place, sql in wanted if (text := _value(data, place, sql, session)) is not None]
    finally:
        session.close()
    return list(dict.fromkeys(found))


def seeded(data: Data, golds: Iterable[str], database: Database, free: Free) -> tuple[Data, dict[str, set[int]]]:
    """The data with rows in which golds find something, and which rows these are.

    Args:
        data: tables as they are; not changed.
        golds: queries that find nothing.
        database: with the same rows.
        free: where values may be put.

    Raises:
        EvaluationError: the server is gone.
    """
    rows = {name: [list(row) for row in table.rows] for name, table in data.tables.items()}
    protected: dict[str, set[int]] = {}
    session = database.session(TIMEOUT_S)
    try:
        for sql in golds:
            for joined in _joined_rows(data, sql, session):
                _seed(data, sql, joined, free, session, rows)
                for table, row in joined.values():
                    protected.setdefault(table, set()).add(row)
    finally:
        session.close()
    tables = {name: replace(table, rows=rows[name]) for name, table in data.tables.items()}
    return replace(data, tables=tables), protected


_Joined = dict[str, tuple[str, int]]  # by alias: a table and one of its rows


def _seed(
    data: Data, sql: str, joined: _Joined, free: Free, session: Session, rows: Mapping[str, Sequence[Row]]
) -> None:  # fmt: skip
    """Put values that satisfy the comparisons into rows that the gold joins."""
    for one in _comparisons(data, sql):
        table, column = one.place
        if one.alias in joined and joined[one.alias][0] == table and column in free.get(table, ()):
            text = _value(data, one.place, one.satisfying, session)
            if text is not None:
                rows[table][joined[one.alias][1]][column] = text


def _joined_rows(data: Data, sql: str, session: Session) -> list[_Joined]:
    """Some rows of the tables of the gold's largest FROM, joined as there but not filtered."""
    from sqlglot import exp

    tree, sources = parse(sql), Sources(data)
    if tree is None:
        return []
    selects = sorted(tree.find_all(exp.Select), key=lambda one: -len(sources.tables(one)))
    select: Any = selects[0] if selects else None
    tables = sources.tables(select) if selects else {}
    if not tables:
        return []
    bare = exp.select(*(f"{alias}.ctid::text" for alias in tables), dialect="postgres").limit(ROWS_SEEDED)
    for part in ("from_", "from", "joins"):
        if select.args.get(part):
            bare.set(part, [one.copy() for one in select.args[part]] if part == "joins" else select.args[part].copy())
    for join in bare.args.get("joins") or ():
        if join.args.get("on"):
            join.set("on", _equations(join.args["on"]) or exp.true())
    if select.args.get("where") and (condition := _equations(select.args["where"].this)):
        bare.where(condition, copy=False)
    try:
        found = session.run(bare.sql(dialect="postgres"), ROWS_SEEDED).rows
    except QueryFailed:
        return []
    known = [dict(zip(tables, places, strict=True)) for places in found]
    return [
        {alias: (tables[alias].quoted, tables[alias].places[place]) for alias, place in one.items() if place}
        for one in known
        if all(place is None or place in tables[alias].places for alias, place in one.items())
    ]


def _equations(condition: Any) -> Any:
    """Those parts of a condition that join column with column, or ``None``."""
    from sqlglot import exp

    parts = [part.unnest() for part in condition.flatten()] if isinstance(condition, exp.And) else [condition.unnest()]
    kept = [
        part.copy()
        for part in parts
        if isinstance(part, exp.EQ) and isinstance(part.left, exp.Column) and isinstance(part.right, exp.Column)
    ]
    return exp.and_(*kept) if kept else None


def _comparisons(data: Data, sql: str) -> Iterator[_Comparison]:
    """Comparisons of a column with a constant, anywhere in a query."""
    from sqlglot import exp

    tree, sources = parse(sql), Sources(data)
    if tree is None:
        return
    kinds = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike, exp.Between, exp.In)
    for node in tree.find_all(*kinds):
        shown, constants = _column(node.this), _constants(node)
        found = sources.find(shown) if shown is not None and constants else None
        if found is None or any(one.find(exp.Column, exp.Query, exp.AggFunc) for one in constants):
            continue
        alias, place = found
        for constant in constants:
            limit = _pattern(constant) if isinstance(node, exp.Like | exp.ILike) else constant.sql(dialect="postgres")
            if limit is not None:
                column = data.tables[place[0]].columns[place[1]]
                yield _Comparison(alias, place, limit, _beyond(node, limit, column))


def _column(node: Any) -> Any:
    """The column a side of a comparison shows, perhaps in lower case or cast."""
    from sqlglot import exp

    while isinstance(node, exp.Lower | exp.Upper | exp.Cast | exp.Paren | exp.Trim):
        node = node.this
    return node if isinstance(node, exp.Column) else None


def _constants(node: Any) -> list[Any]:
    from sqlglot import exp

    if isinstance(node, exp.Between):
        return [node.args["low"], node.args["high"]]
    if isinstance(node, exp.In):
        return list(node.expressions)
    return [node.expression]


def _pattern(constant: Any) -> str | None:
    """A text that matches a LIKE pattern, as an SQL literal."""
    from sqlglot import exp

    if not (isinstance(constant, exp.Literal) and constant.is_string):
        return None
    text: str = exp.Literal.string(constant.this.replace("%", "").replace("_", "a")).sql(dialect="postgres")
    return text


def _beyond(node: Any, limit: str, column: Column) -> str:
    """SQL of a value on the right side of the limit."""
    from sqlglot import exp

    step = {"N": "1", "D": "interval '1 day'"}.get(column.category)
    sign = "+" if isinstance(node, exp.GT) else "-" if isinstance(node, exp.LT) else ""
    return f"CAST({limit} AS {column.type}) {sign} {step}" if step and sign else limit


def _value(data: Data, place: Place, sql: str, session: Session) -> str | None:
    """A value of the column's type as COPY writes it; ``None`` for NULL, or where the column cannot hold it."""
    column = data.tables[place[0]].columns[place[1]]
    try:
        text = session.run(f"SELECT CAST(CAST({sql} AS {column.type}) AS text)", 1).rows[0][0]
    except QueryFailed:
        return None
    return None if text is None else str(text).translate(_ESCAPES)


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\b": r"\b", "\f": r"\f", "\v": r"\v"})
