"""Fill a database description with reproducible rows.

Every row comes from ``random.Random(database name)``, never from the clock, so that ``rows.sql`` is the same
on every machine and no answer depends on today. Foreign keys are skewed and leave some parents without a
child: otherwise an inner and an outer join, or a count of rows and of distinct parents, would agree.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from functools import cache

from workbench.nano.columns import Column, Database, Table

FIRST_DAY, DAYS = date(2019, 1, 1), 1826
FIRST_NAMES = (
    "Maria", "Carlos", "Elena", "David", "Laura", "Peter", "Nina", "Oscar", "Julia", "Martin", "Clara", "Hugo",
    "Irene", "Felix", "Sonia", "Victor", "Alice", "Bruno", "Diana", "Edgar", "Fiona", "George", "Hanna", "Ivan",
    "Karen", "Leo", "Monica", "Noah", "Olga", "Paul", "Rosa", "Simon", "Tessa", "Ursula", "Walter", "Yara",
)  # fmt: skip
LAST_NAMES = (
    "Lopez", "Smith", "Khan", "Novak", "Silva", "Brown", "Rossi", "Meyer", "Tanaka", "Jones", "Petrov", "Garcia",
    "Kim", "Olsen", "Dubois", "Clark", "Moreno", "Weber", "Walsh", "Nguyen", "Costa", "Baker", "Lind", "Fischer",
    "Reyes", "Stone", "Patel", "Hughes", "Marsh", "Ortega",
)  # fmt: skip

Row = dict[str, object]


@cache
def fill(database: Database) -> dict[str, list[Row]]:
    """Rows of every table, parents first."""
    rng = random.Random(database.name)  # noqa: S311 - reproducible, not secret
    people = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    rng.shuffle(people)
    rows: dict[str, list[Row]] = {}
    for table in database.tables:
        names = _names(table, people)
        rows[table.name] = [_row(rng, table, number, names, rows) for number in range(1, table.size + 1)]
    return rows


def _names(table: Table, people: list[str]) -> list[str]:
    if table.label is None:
        return []
    if table.label.values != ("people",):
        return list(table.label.values)
    return [people.pop() for _ in range(table.size)]


def _row(rng: random.Random, table: Table, number: int, names: list[str], rows: dict[str, list[Row]]) -> Row:
    row: Row = {}
    for column in table.columns:
        if column.role == "id":
            row[column.name] = number
        elif column.role == "name":
            row[column.name] = names[number - 1]
        elif column.null and rng.random() < column.null:
            row[column.name] = None
        elif column.role == "fk":
            # The square leans towards low numbers; the factor leaves the last parents without children.
            parents = len(rows[column.target])
            row[column.name] = 1 + int(rng.random() ** 1.6 * parents * 0.88)
        else:
            row[column.name] = _value(rng, column, row)
    return row


def _value(rng: random.Random, column: Column, row: Row) -> object:  # noqa: PLR0911 - one return a role
    if column.role == "category":
        weights = range(len(column.values) + 2, 2, -1)
        return rng.choices(column.values, weights)[0]
    if column.role == "boolean":
        return rng.random() < 0.6
    if column.role == "integer":
        return rng.randint(int(column.lo), int(column.hi))
    if column.role == "amount":
        return round(column.lo + (column.hi - column.lo) * rng.random() ** 1.5, 2)
    if column.target:
        start = row[column.target]
        assert isinstance(start, date)
        return start + timedelta(days=rng.randint(int(column.lo), int(column.hi)))
    if column.lo:
        return date(int(column.lo), 1, 1) + timedelta(days=rng.randrange(int(column.hi - column.lo + 1) * 365))
    return FIRST_DAY + timedelta(days=rng.randrange(DAYS))


def literal(value: object) -> str:
    """A value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value) if isinstance(value, int) else f"'{value}'"


def inserts(database: Database) -> str:
    """One INSERT per table, one line per row."""
    parts = []
    for name, rows in fill(database).items():
        lines = ",\n".join(f"({', '.join(map(literal, row.values()))})" for row in rows)
        parts.append(f"INSERT INTO {name} VALUES\n{lines};\n")
    return "".join(parts)
