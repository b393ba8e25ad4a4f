"""All rows of a small database in memory, as text, and the SQL that puts other rows in their place.

Rows are read with COPY and kept as COPY writes them, escapes included: whatever its type, a value goes back unchanged,
and two values are equal when their texts are. Generated columns are left out. What the catalog says of unique indexes,
checks and foreign keys comes along, so that whoever changes rows knows what must hold.

    data = read_data(database)                                    # None when it is larger than MAX_BYTES
    server.change(database, replacement_script(data, {name: table.rows for name, table in data.tables.items()}))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.errors import EvaluationError

if TYPE_CHECKING:
    import psycopg

    from workbench.evals.postgres import Database

MAX_BYTES = 16 * 2**20  # of all rows as text; a larger database is no place for luck, and slow to write again

Row = list[str | None]

_COLUMNS = """
SELECT c.oid, format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, a.attnum, quote_ident(a.attname), a.attname,
       format_type(a.atttypid, a.atttypmod), t.typcategory
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 2, 5
"""
_KEYS = """
SELECT i.indrelid, i.indkey::int2[]::int[], i.indexprs IS NULL FROM pg_index AS i
WHERE i.indisunique OR i.indisexclusion ORDER BY i.indexrelid
"""
_CONSTRAINTS = """
SELECT contype::text, conrelid, conkey::int[], confrelid, confkey::int[] FROM pg_constraint
WHERE contype IN ('c', 'f') AND conkey IS NOT NULL ORDER BY oid
"""
_VIEWS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' ORDER BY c.oid
"""


@dataclass(frozen=True)
class Column:
    """One column: its names as SQL writes and as the catalog has it, its type, and that type's category letter."""

    quoted: str
    name: str
    type: str
    category: str


@dataclass(frozen=True)
class TableData:
    """One table.

    Attributes:
        quoted: its name with its schema, as SQL writes it.
        schema: its schema's bare name.
        name: its own.
        columns: those that can be written.
        rows: a text or ``None`` per column.
        places: index into ``rows`` by the row's ``ctid``.
        keys: columns of each unique index, by index; all columns for an index on an expression.
        checks: columns of each check constraint.
    """

    quoted: str
    schema: str
    name: str
    columns: tuple[Column, ...]
    rows: list[Row] = field(repr=False)
    places: dict[str, int] = field(repr=False)
    keys: tuple[tuple[int, ...], ...] = ()
    checks: tuple[tuple[int, ...], ...] = ()

    def values(self, column: int) -> list[str | None]:
        """One column's values, by row."""
        return [row[column] for row in self.rows]


@dataclass(frozen=True)
class Link:
    """Columns of two tables that are joined, or refer to one another."""

    table: str
    columns: tuple[int, ...]
    other: str
    other_columns: tuple[int, ...]


@dataclass(frozen=True)
class Data:
    """A database: tables by quoted name, the links its foreign keys make, and its materialized views."""

    tables: dict[str, TableData]
    links: tuple[Link, ...] = ()
    views: tuple[str, ...] = ()


def read_data(database: Database) -> Data | None:
    """Read all tables, or ``None`` when they hold more than ``MAX_BYTES``.

    Raises:
        EvaluationError: the server does not answer.
    """
    import psycopg

    try:
        with psycopg.connect(database.conninfo, autocommit=True, options="-c TimeZone=UTC") as connection:
            return _read(connection)
    except _TooLarge:
        return None
    except psycopg.Error as error:
        raise EvaluationError(f"cannot read {database.name!r} for a second copy; run again: {error}") from error


class _TooLarge(Exception):
    """More than ``MAX_BYTES``; ends the COPY under way."""


def _read(connection: psycopg.Connection) -> Data:
    oids: dict[int, str] = {}
    numbers: dict[str, list[int]] = {}
    columns: dict[str, list[Column]] = {}
    names: dict[str, tuple[str, str]] = {}
    for oid, quoted, schema, name, number, *column in connection.execute(_COLUMNS):
        oids[oid], names[quoted] = quoted, (schema, name)
        numbers.setdefault(quoted, []).append(number)
        columns.setdefault(quoted, []).append(Column(*column))
    keys = _by_table(connection.execute(_KEYS), oids, numbers)
    checks, links = _constraints(connection, oids, numbers)
    tables: dict[str, TableData] = {}
    left = MAX_BYTES
    for quoted, (schema, name) in names.items():
        rows, size = _copy_out(connection, quoted, columns[quoted], left)
        left -= size
        places = {str(row.pop(0)): at for at, row in enumerate(rows)}
        unique, checked = tuple(keys.get(quoted, ())), tuple(checks.get(quoted, ()))
        tables[quoted] = TableData(quoted, schema, name, tuple(columns[quoted]), rows, places, unique, checked)
    return Data(tables, links, tuple(quoted for (quoted,) in connection.execute(_VIEWS)))


def _by_table(
    found: Any, oids: Mapping[int, str], numbers: Mapping[str, Sequence[int]]
) -> dict[str, list[tuple[int, ...]]]:
    keys: dict[str, list[tuple[int, ...]]] = {}
    for oid, attributes, plain in found:
        if oid in oids:
            known = numbers[oids[oid]]
            places = [known.index(one) for one in attributes if one in known] if plain else range(len(known))
            keys.setdefault(oids[oid], []).append(tuple(places))
    return keys


def _constraints(
    connection: psycopg.Connection, oids: Mapping[int, str], numbers: Mapping[str, Sequence[int]]
) -> tuple[dict[str, list[tuple[int, ...]]], tuple[Link, ...]]:
    """Columns of each table's checks, and the foreign keys; those on generated columns are left out."""
    checks: dict[str, list[tuple[int, ...]]] = {}
    links: list[Link] = []
    for kind, oid, attributes, other, other_attributes in connection.execute(_CONSTRAINTS):
        table, target = oids.get(oid), oids.get(other)
        if table is None or not set(attributes) <= set(numbers[table]):
            continue
        own = tuple(numbers[table].index(one) for one in attributes)
        if kind == "c":
            checks.setdefault(table, []).append(own)
        elif target is not None and set(other_attributes) <= set(numbers[target]):
            links.append(Link(table, own, target, tuple(numbers[target].index(one) for one in other_attributes)))
    return checks, tuple(links)


def _copy_out(
    connection: psycopg.Connection, table: str, columns: Sequence[Column], limit: int
) -> tuple[list[Row], int]:
    """Rows with their ctid in front, and their size."""
    listed = ", ".join(["ctid", *(column.quoted for column in columns)])
    rows: list[Row] = []
    size = 0
    sql = f"COPY (SELECT {listed} FROM ONLY {table}) TO STDOUT"  # noqa: S608 (names are the catalog's, quoted)
    with connection.cursor().copy(sql.encode()) as copy:
        for line in copy:
            size += len(line)
            if size > limit:
                raise _TooLarge
            cells = bytes(line).decode().removesuffix("\n").split("\t")
            rows.append([None if cell == r"\N" else cell for cell in cells])
    return rows, size


def replacement_script(data: Data, rows: Mapping[str, Sequence[Row]]) -> str:
    """SQL that empties all tables and fills them with these rows, for their owner.

    Foreign keys and triggers rest meanwhile (``session_replication_role``); unique indexes and checks do not.
    """
    pieces = ["SET session_replication_role = replica;"]
    if data.tables:
        pieces.append(f"TRUNCATE {', '.join(data.tables)};")
    for name, table in data.tables.items():
        listed = ", ".join(column.quoted for column in table.columns)
        pieces.append(f"COPY {name} ({listed}) FROM stdin;")
        pieces += ["\t".join(r"\N" if cell is None else cell for cell in row) for row in rows[name]]
        pieces.append("\\.\n")
    pieces += [f"REFRESH MATERIALIZED VIEW {view};" for view in data.views]
    return "\n".join([*pieces, "RESET session_replication_role;\n"])
