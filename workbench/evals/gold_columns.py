"""Which columns of which tables a query names, and which of them belong together.

``Sources`` resolves ``c.name``, or ``name`` alone, to a table of the database by the aliases of the SELECT it stands in
and of those around it. ``find_links`` gathers the columns that are joined: by a foreign key, by a gold (``a.x = b.y``,
``USING``, ``x IN (SELECT y``), by a schema's remark ``-- a.x can be joined with b.y``, or because names and values say
that one refers to the other.

    links = find_links(data, ["SELECT ... FROM a JOIN b ON a.x = b.y"], schema)
    copied = copied_columns(data, links)        # columns that repeat one of the table they refer to
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

from workbench.evals.table_data import Column, Data, Link, TableData

if TYPE_CHECKING:
    from sqlglot import exp

_REMARK = re.compile(r"([\w.]+)\.(\w+) can be joined with ([\w.]+)\.(\w+)")

LEAST_SHARED = 3  # different texts that are all found in a key elsewhere

Place = tuple[str, int]  # a table by its quoted name, and a column's index


@functools.lru_cache(maxsize=1024)
def parse(sql: str) -> Any:
    """A query's syntax tree, not to be changed; ``None`` where sqlglot knows the SQL not."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        return sqlglot.parse_one(sql, dialect="postgres")
    except (SqlglotError, RecursionError):
        return None


class Sources:
    """Resolves the columns of one query."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def tables(self, select: Any) -> dict[str, TableData]:
        """Tables a SELECT reads itself, by alias; derived tables and CTEs are left out."""
        from sqlglot import exp

        found = {}
        for node in select.find_all(exp.Table):
            table = self._table(node)
            if table and node.parent_select is select:
                found[node.alias_or_name.lower()] = table
        return found

    def find(self, column: exp.Column) -> tuple[str, Place] | None:
        """Alias and place of a column; ``None`` where it is no table's, or could be several's."""
        select = column.parent_select
        while select is not None:
            tables = self.tables(select)
            named = {alias: table for alias, table in tables.items() if column.table.lower() in ("", alias)}
            found = [(alias, (table.quoted, at)) for alias, table in named.items() for at in _named(table, column.name)]
            if found or (column.table and named):
                return found[0] if len(found) == 1 else None
            select = select.parent_select
        return None

    def _table(self, node: exp.Table) -> TableData | None:
        """The table of this name, in the named schema or in whichever has it."""
        wanted = (node.name.lower(), node.db.lower())
        found = [
            table for table in self.data.tables.values() if table.name.lower() == wanted[0]
            and wanted[1] in ("", table.schema.lower())
        ]  # fmt: skip
        return found[0] if len(found) == 1 else None


def _named(table: TableData, name: str) -> list[int]:
    return [at for at, column in enumerate(table.columns) if column.name.lower() == name.lower()]


def find_links(data: Data, golds: Iterable[str], schema: str) -> list[Link]:
    """All pairs of columns that are joined, foreign keys included, each once.

    Args:
        data: tables with rows.
        golds: queries, of which those that cannot be parsed count for nothing.
        schema: its remarks are read.
    """
    pairs = (
        {pair for sql in golds for pair in _joined(data, sql)} | set(_remarked(data, schema)) | set(_named_after(data))
    )
    made = [Link(one[0], (one[1],), other[0], (other[1],)) for one, other in sorted(map(_sorted, pairs))]
    return [*data.links, *dict.fromkeys(made)]


def _sorted(pair: tuple[Place, Place]) -> tuple[Place, Place]:
    return min(pair), max(pair)


def _joined(data: Data, sql: str) -> Iterator[tuple[Place, Place]]:
    from sqlglot import exp

    tree, sources = parse(sql), Sources(data)
    if tree is None:
        return
    for left, right in _equated(tree):
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            one, other = sources.find(left), sources.find(right)
            if one and other and one != other:
                yield one[1], other[1]
    for join in tree.find_all(exp.Join):
        for name in join.args.get("using") or ():
            tables = sources.tables(join.parent_select).values()
            places = [(table.quoted, at) for table in tables for at in _named(table, name.name)]
            yield from combinations(places, 2)


def _equated(tree: Any) -> Iterator[tuple[Any, Any]]:
    from sqlglot import exp

    for node in tree.find_all(exp.EQ):
        yield node.left, node.right
    for node in tree.find_all(exp.In):
        query = node.args.get("query")
        select = query.find(exp.Select) if query else None
        if select is not None and select.expressions:
            yield node.this, select.expressions[0].unalias()


def _remarked(data: Data, schema: str) -> Iterator[tuple[Place, Place]]:
    for found in _REMARK.finditer(schema):
        places = [
            (table.quoted, at)
            for name, column in (found.group(1, 2), found.group(3, 4))
            for table in data.tables.values()
            if name.lower() in (table.name.lower(), f"{table.schema}.{table.name}".lower())
            for at in _named(table, column)
        ]
        if len(places) == 2:
            yield places[0], places[1]


def _named_after(data: Data) -> Iterator[tuple[Place, Place]]:
    """Columns that by their values and names refer to a column in which each value occurs once."""
    for table, other in permutations(data.tables.values(), 2):
        for own, column in enumerate(table.columns):
            values = set(table.values(own)) - {None}
            for at, key in enumerate(other.columns):
                if _sounds_like(column, key, other.name) or (column.category == "S" and len(values) >= LEAST_SHARED):
                    keys = other.values(at)
                    if column.type == key.type and values and len({*keys}) == len(keys) and values <= {*keys}:
                        yield (table.quoted, own), (other.quoted, at)


def _sounds_like(column: Column, key: Column, table: str) -> bool:
    """``city_name`` and ``city_name``; ``user_id`` and ``users.uid``; but not each table's own ``id``."""
    name, subject = column.name.lower(), re.sub(r"_?id$", "", column.name.lower())
    plural = {subject, f"{subject}s", f"{subject}es", f"{subject[:-1]}ies"}
    return name == key.name.lower() != "id" or (bool(subject) and is_identifier(key) and table.lower() in plural)


def is_identifier(column: Column) -> bool:
    """Whether a column, by its name, says which thing a row is about."""
    return column.category != "B" and bool(re.search(r"(id|code|key)$", column.name, re.IGNORECASE))


def copied_columns(data: Data, links: Sequence[Link]) -> dict[str, set[int]]:
    """Columns by table that hold the same as a column of the same name in a row they are linked with, in all rows."""
    found: dict[str, set[int]] = {}
    for link in links:
        table, other = data.tables[link.table], data.tables[link.other]
        for own, column in enumerate(table.columns):
            for at in _named(other, column.name):
                if own not in link.columns and link.table != link.other and _agree(table, own, other, at, link):
                    found.setdefault(link.table, set()).add(own)
                    found.setdefault(link.other, set()).add(at)
    return found


def _agree(table: TableData, own: int, other: TableData, at: int, link: Link) -> bool:
    there: dict[tuple[str | None, ...], set[str | None]] = {}
    for row in other.rows:
        there.setdefault(tuple(row[column] for column in link.other_columns), set()).add(row[at])
    pairs = [(row[own], there.get(tuple(row[column] for column in link.columns))) for row in table.rows]
    met = [(value, values) for value, values in pairs if values]
    return len({value for value, _ in met}) > 1 and all(values == {value} for value, values in met)
