"""What a training schema is made of: tables whose columns carry a role and natural phrases.

A question form never names a column. It asks a table for "some amount" or "some category" and gets
the column's SQL name together with the words an English speaker uses for it, so that one form serves
every database. Values are described here too (``lo``, ``hi``, ``values``), and filled in by ``rows.py``.

Roles: ``id`` (primary key), ``fk`` (foreign key), ``name`` (unique label of a row), ``category``,
``amount`` (numeric with cents), ``integer``, ``date``, ``boolean``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

SQL_TYPES = {
    "id": "integer PRIMARY KEY",
    "fk": "integer",
    "name": "text",
    "category": "text",
    "amount": "numeric(10,2)",
    "integer": "integer",
    "date": "date",
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: in SQL.
        role: see the module docstring.
        one: singular noun phrase, ``unit price``.
        many: plural, ``unit prices``.
        says: for a category, extra filter phrases with ``{v}``; for numbers two phrases (more than, less
            than); for a date its verb (``placed``); for a boolean the true and the false phrase.
        values: what a category or name may hold.
        lo, hi: range of a number; of a date, its years, or the days after the date it follows.
        null: share of NULLs.
        adds: whether a sum of the column makes sense.
        target: parent table of a foreign key, or the date column this date follows.
        note: comment shown in the DDL.
    """

    name: str
    role: str
    one: str = ""
    many: str = ""
    says: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    lo: float = 0
    hi: float = 0
    null: float = 0.0
    adds: bool = True
    target: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """One table: its name, what one row and many rows are called, its columns and number of rows."""

    name: str
    one: str
    many: str
    size: int
    columns: tuple[Column, ...]

    @cached_property
    def alias(self) -> str:
        """First letter of every word of the name: the one alias the golds use."""
        return "".join(word[0] for word in self.name.split("_"))

    @cached_property
    def key(self) -> Column:
        """The primary key."""
        return self.columns[0]

    @cached_property
    def label(self) -> Column | None:
        """The column that names a row, when the table has one."""
        return next((c for c in self.columns if c.role == "name"), None)

    def having(self, *roles: str, null: bool | None = False) -> list[Column]:
        """Columns of these roles; ``null`` False without, True with, None either way NULLs."""
        return [c for c in self.columns if c.role in roles and (null is None or bool(c.null) == null)]

    @cached_property
    def links(self) -> list[Column]:
        """The foreign keys."""
        return [c for c in self.columns if c.role == "fk"]


@dataclass(frozen=True)
class Database:
    """A named set of tables, parents before children."""

    name: str
    tables: tuple[Table, ...]

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """Tables by name."""
        return {table.name: table for table in self.tables}

    @cached_property
    def edges(self) -> list[tuple[Table, Column, Table]]:
        """Every (child, foreign key, parent)."""
        return [(t, c, self.by_name[c.target]) for t in self.tables for c in t.links]

    def ddl(self) -> str:
        """CREATE TABLE statements and join hints: the schema as the prompt shows it."""
        return "\n".join([*map(create_table, self.tables), *join_hints(self)]) + "\n"


def create_table(table: Table) -> str:
    """One compact CREATE TABLE; a column's note becomes a comment."""
    lines = []
    for number, column in enumerate(table.columns):
        comma = "," if number + 1 < len(table.columns) else ""
        note = f" --{column.note}" if column.note else ""
        lines.append(f"  {column.name} {SQL_TYPES[column.role]}{comma}{note}\n")
    return f"CREATE TABLE {table.name} (\n{''.join(lines)});"


def join_hints(database: Database) -> list[str]:
    """``-- child.fk can be joined with parent.key`` for every foreign key."""
    return [f"-- {t.name}.{c.name} can be joined with {p.name}.{p.key.name}" for t, c, p in database.edges]


def key(name: str) -> Column:
    """A primary key."""
    return Column(name, "id")


def fk(name: str, target: str, link: str) -> Column:
    """``link`` reads between child and parent: orders *placed by* Maria Lopez."""
    return Column(name, "fk", says=(link,), target=target)


def label(name: str, values: str, one: str = "name", many: str = "names") -> Column:
    """A unique name; ``values`` is a ``|`` list, or ``people``."""
    return Column(name, "name", one, many, values=tuple(values.split("|")))


def cat(name: str, one: str, many: str, values: str, *says: str, null: float = 0.0) -> Column:
    """A category; ``values`` is a ``|`` list."""
    return Column(name, "category", one, many, says, tuple(values.split("|")), null=null)


def money(name: str, one: str, many: str, lo: float, hi: float, *says: str, adds: bool = True) -> Column:
    """A number with cents."""
    return Column(name, "amount", one, many, says, lo=lo, hi=hi, adds=adds)


def num(  # noqa: PLR0913 - a line of the schema files
    name: str, one: str, many: str, lo: int, hi: int, *says: str, adds: bool = True, note: str = ""
) -> Column:
    """A whole number."""
    return Column(name, "integer", one, many, says, lo=lo, hi=hi, adds=adds, note=note)


def day(
    name: str, one: str, many: str, *verb: str, null: float = 0.0, after: str = "", gap: tuple[int, int] = (0, 0)
) -> Column:
    """A date with its verb; ``gap`` is in days after the column ``after``, or else the range of years."""
    return Column(name, "date", one, many, verb, lo=gap[0], hi=gap[1], null=null, target=after)


def flag(name: str, yes: str, no: str) -> Column:
    """A boolean with the phrases for true and false."""
    return Column(name, "boolean", says=(yes, no))
