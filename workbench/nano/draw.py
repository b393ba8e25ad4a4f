"""What a question form draws from: tables, columns, conditions and wordings of one database.

A form is a function from a ``Draw`` to ``(question, sql, ordered)``. It asks the draw for material ("a child
table and its parent, the child with a number") and raises :class:`NoFit` by way of the draw when the database
has none; the generator then draws another form.

SQL style, the same in every form so that a tiny model can learn it: single tables unqualified, joined tables
aliased by the initials of their names, child before parent, output columns named only where an outer query
needs the name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, TypeVar

from workbench.nano.columns import Column, Database, Table
from workbench.nano.rows import FIRST_NAMES, LAST_NAMES, fill

AGGREGATES = {
    "AVG": ("average", "mean"),
    "SUM": ("total", "combined"),
    "MAX": ("highest", "maximum", "largest"),
    "MIN": ("lowest", "minimum", "smallest"),
}
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
QUARTERS = ("first", "second", "third", "fourth")
MACROS = {
    "@show": "[What are|List|Show|Find|Give me|Display|Return]",
    "@is": "[What is|Show|Find|Give me|Return|Compute]",
    "@each": "[each|every]",
    "@per": "[per|for each|for every|by]",
    "@count": "[number|count]",
}
_CHOICE = re.compile(r"\[([^\]]*)\]")
_LOOSE = re.compile(r" ([,;?])")
_MACRO = re.compile("|".join(MACROS))
_ASKING = re.compile(r"(What|Which|How|When|In which|By how|For which)\b|.*[,;] (what|how|which)\b")

T = TypeVar("T")
Made = tuple[str, str, bool]


class NoFit(Exception):
    """The database lacks what the form needs."""


@dataclass(frozen=True)
class Condition:
    """A filter: ``text`` follows the plural noun (patients *older than 40*), ``sql`` goes into WHERE."""

    text: str
    sql: str
    column: str


def article(noun: str) -> str:
    """The noun with its a or an."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def say_date(day: date) -> str:
    """March 1, 2022."""
    return f"{MONTHS[day.month - 1]} {day.day}, {day.year}"


@cache
def column_values(database: Database, table: Table, column: Column) -> list[Any]:
    """Sorted values without NULLs."""
    return sorted(v for row in fill(database)[table.name] if (v := row[column.name]) is not None)


@cache
def _expand(template: str) -> str:
    return _MACRO.sub(lambda match: MACROS[match[0]], template)


@cache
def _options(body: str) -> tuple[str, ...]:
    return tuple(body.split("|"))


def rounded(value: float) -> int:
    """Two significant digits, as people say numbers; at least 1."""
    whole = max(1, round(value))
    step = 10 ** max(0, len(str(whole)) - 2)
    return int(round(whole / step) * step)


class Draw:
    """Random material from one database."""

    def __init__(self, database: Database, rng: random.Random):
        self.database, self.rng = database, rng

    def pick(self, options: Iterable[T]) -> T:
        """One of the options; NoFit when there is none."""
        found = options if isinstance(options, list | tuple) else list(options)
        if not found:
            raise NoFit
        return found[int(self.rng.random() * len(found))]

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.rng.random() < share

    def say(self, *templates: str, **fields: object) -> str:
        """One wording, its ``[a|b]`` choices made and its end punctuated."""
        text = _CHOICE.sub(lambda match: self.pick(_options(match[1])), _expand(self.pick(templates)))
        text = _LOOSE.sub(r"\1", " ".join(text.format(**fields).split()))
        return text + ("?" if _ASKING.match(text.rpartition("? ")[2]) else ".")

    # Tables and columns

    def table(self, *roles: str, named: bool = False) -> Table:
        """A table with a NULL-free column of every role; ``number`` stands for amount or integer."""
        return self.pick([t for t in self.database.tables if _fits(t, roles) and (t.label or not named)])

    def link(
        self, child: tuple[str, ...] = (), parent: tuple[str, ...] = (), named: bool = True
    ) -> tuple[Table, Column, Table]:
        """(child, foreign key, parent) with the roles asked for; ``named`` wants a label on the parent."""
        edges = self.database.edges
        return self.pick(
            [(c, k, p) for c, k, p in edges if _fits(c, child) and _fits(p, parent) and (p.label or not named)]
        )

    def column(self, table: Table, role: str, avoid: tuple[str, ...] = ()) -> Column:
        """A NULL-free column of a role."""
        return self.pick([c for c in table.having(*_ROLES.get(role, (role,))) if c.name not in avoid])

    def measure(self, table: Table, adds: bool = False) -> Column:
        """A number column; ``adds`` when its sum must make sense."""
        return self.pick([c for c in table.having("amount", "integer") if c.adds or not adds])

    def aggregate(self, table: Table, *functions: str) -> tuple[str, str, Column]:
        """(SQL function, adjective, column)."""
        column = self.measure(table)
        allowed = [f for f in functions or AGGREGATES if column.adds or f != "SUM"]
        function = self.pick(allowed)
        return function, self.pick(AGGREGATES[function]), column

    def shown(self, table: Table) -> Column:
        """What stands for a row in an answer: its label, or its key, called id."""
        return table.label or Column(table.key.name, "id", "id", "ids")

    def value(self, table: Table, column: Column) -> Any:
        """A value that occurs in the column."""
        return self.pick(column_values(self.database, table, column))

    def name_of(self, table: Table) -> str:
        """A name from the rows; now and then another person's, for names must be copied, not remembered."""
        assert table.label is not None
        if table.label.values == ("people",) and self.chance(0.3):
            return f"{self.pick(FIRST_NAMES)} {self.pick(LAST_NAMES)}"
        return str(self.value(table, table.label))

    def threshold(self, table: Table, column: Column) -> int:
        """A round number inside the middle of the column's values."""
        values = column_values(self.database, table, column)
        return rounded(values[int(len(values) * self.rng.uniform(0.12, 0.88))])

    # Conditions

    def where(self, table: Table, alias: bool = False, kinds: str = "", avoid: tuple[str, ...] = ()) -> Condition:
        """A condition on some column of ``table``; ``kinds`` limits the roles, ``avoid`` the columns."""
        roles = kinds.split() or ["category", "amount", "integer", "date", "boolean"]
        columns = [c for c in table.columns if c.role in roles and c.name not in avoid and not c.null]
        column = self.pick(columns)
        prefix = f"{table.alias}." if alias else ""
        maker = CONDITIONS[column.role]
        text, sql = maker(self, table, column, prefix + column.name)
        return Condition(text, sql, column.name)

    def two(self, table: Table, alias: bool = False) -> tuple[Condition, Condition]:
        """Two conditions on different columns, in the order of the columns of the table."""
        first = self.where(table, alias)
        second = self.where(table, alias, avoid=(first.column,))
        return first, second


_ROLES = {"number": ("amount", "integer")}


@cache
def _fits(table: Table, roles: tuple[str, ...]) -> bool:
    """Whether every role, counted with repetition, has a column."""
    return all(len(table.having(*_ROLES.get(role, (role,)))) >= roles.count(role) for role in roles)


def _category(d: Draw, table: Table, column: Column, sql: str) -> tuple[str, str]:
    roll = d.rng.random()
    value = d.value(table, column)
    if roll < 0.76:
        phrases = [f"whose {column.one} is {{v}}", f"with {column.one} {{v}}", *column.says, *column.says]
        return d.pick(phrases).format(v=value), f"{sql} = '{value}'"
    if roll < 0.86:
        return d.pick([f"whose {column.one} is not {value}", f"with {article(column.one)} other than {value}"]), (
            f"{sql} <> '{value}'"
        )
    other = d.pick([v for v in column.values if v != value])
    return d.pick([f"whose {column.one} is {value} or {other}", f"whose {column.one} is either {value} or {other}"]), (
        f"{sql} IN ('{value}', '{other}')"
    )


def _number(d: Draw, table: Table, column: Column, sql: str) -> tuple[str, str]:
    one, n = column.one, d.threshold(table, column)
    roll = d.rng.random()
    more, less = column.says or (f"with {article(one)} over {{v}}", f"with {article(one)} under {{v}}")
    if roll < 0.38:
        phrases = [f"whose {one} is greater than {n}", f"with {article(one)} above {n}", more.format(v=n)]
        return d.pick(phrases), f"{sql} > {n}"
    if roll < 0.7:
        phrases = [f"whose {one} is less than {n}", f"with {article(one)} below {n}", less.format(v=n)]
        return d.pick(phrases), f"{sql} < {n}"
    if roll < 0.78:
        return d.pick([f"whose {one} is at least {n}", f"with {article(one)} of at least {n}"]), f"{sql} >= {n}"
    if roll < 0.86:
        return d.pick([f"whose {one} is at most {n}", f"with {article(one)} of at most {n}"]), f"{sql} <= {n}"
    low, high = sorted((n, d.threshold(table, column)))
    high = high if high > low else rounded(low * 1.5) + 1
    phrases = [f"whose {one} is between {low} and {high}", f"with {article(one)} from {low} to {high}"]
    return d.pick(phrases), f"{sql} BETWEEN {low} AND {high}"


def _date(d: Draw, table: Table, column: Column, sql: str) -> tuple[str, str]:
    lead = d.pick([f"with {article(column.one)}", column.says[0], column.says[0]])
    values = column_values(d.database, table, column)
    day = values[int(len(values) * d.rng.uniform(0.15, 0.85))]
    shown = day.isoformat() if d.chance(0.5) else say_date(day)
    roll = d.rng.random()
    if roll < 0.3:
        return f"{lead} in {day.year}", f"EXTRACT(YEAR FROM {sql}) = {day.year}"
    if roll < 0.48:
        return f"{lead} in {MONTHS[day.month - 1]} {day.year}", f"DATE_TRUNC('month', {sql}) = '{day.replace(day=1)}'"
    if roll < 0.65:
        return f"{lead} after {shown}", f"{sql} > '{day}'"
    if roll < 0.82:
        return f"{lead} before {shown}", f"{sql} < '{day}'"
    if roll < 0.9:
        return f"{lead} {d.pick(['on or after', 'since'])} {shown}", f"{sql} >= '{day}'"
    first = d.pick([v for v in values if v < day])
    start = first.isoformat() if shown[0].isdigit() else say_date(first)
    return f"{lead} between {start} and {shown}", f"{sql} BETWEEN '{first}' AND '{day}'"


def _boolean(d: Draw, table: Table, column: Column, sql: str) -> tuple[str, str]:
    yes = d.chance(0.5)
    return column.says[0 if yes else 1], f"{sql} = {'TRUE' if yes else 'FALSE'}"


CONDITIONS: dict[str, Callable[[Draw, Table, Column, str], tuple[str, str]]] = {
    "category": _category,
    "amount": _number,
    "integer": _number,
    "date": _date,
    "boolean": _boolean,
}
