"""When do two values of a result mean the same?

int and numeric are equal by value, exactly; as soon as one side is a double, within 1e-9 relative; NULL equals
NULL only, NaN equals NaN; bool is no int; a date equals its midnight; aware timestamps are read in UTC; arrays,
json and ranges are equal when their parts are. ``canonical`` gives each value a form in which ``==`` says so, doubles
apart: for them ``comparable`` first numbers the clusters in which values of the two columns lie together, so that
equality is transitive and bags of rows can be counted.

    >>> canonical(1) == canonical(Decimal("1.00")), canonical(True) == canonical(1)
    (True, False)
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from types import NoneType
from typing import Any, Self

TOLERANCE = 1e-9  # relative, for doubles
CHAIN = 4  # times the tolerance, from which on a chain of values is long
NOISE = 1e-12  # relative; how far sums of the same doubles in another order may lie apart

NESTED = {"array", "record", "json", "object", "range"}  # tags of cells that hold a tuple of cells

Cell = tuple[str, Any]
Profile = tuple[list[float], Counter[Cell]]


@dataclass(frozen=True)
class Json:
    """A json or jsonb value, so that json ``null`` is not taken for NULL."""

    value: Any

    @cached_property
    def cell(self) -> Cell:
        """The value in canonical form."""
        return "json", tuple(_parts(self.value))


class Typed(str):
    """A value as Postgres writes it, where text alone would not tell what it means.

    So come what Python's types cannot hold (``infinity``, a year BC, json of endless depth) and ``char(n)``.

    Attributes:
        kind: ``moment``, ``time``, ``interval``, ``padded``, or the name of its type.
    """

    kind: str

    def __new__(cls, kind: str, text: str) -> Self:
        """``text``, and what kind of value it is."""
        made = super().__new__(cls, text)
        made.kind = kind
        return made

    @property
    def cell(self) -> Cell:
        """The value in canonical form: a date like its midnight in UTC, ``char(n)`` without the blanks that fill it."""
        if self.kind == "padded":
            return "text", self.rstrip(" ")
        return self.kind, _MIDNIGHT_UTC.sub("", self) if self.kind == "moment" else str(self)


_MIDNIGHT_UTC = re.compile(r"(?: 00:00:00)?(?:\+00)?(?= BC$|$)")


def canonical(value: Any) -> Cell:
    """A tagged, hashable form in which values that mean the same are equal (doubles apart)."""
    form = _FORMS.get(type(value))
    if form:
        return form(value)
    if hasattr(value, "bounds"):  # one of psycopg's ranges
        return "range", (canonical(value.lower), canonical(value.upper), ("text", value.bounds))
    return next((form(value) for kind, form in _FORMS.items() if isinstance(value, kind)), ("text", str(value)))


def _parts(value: Any) -> Iterator[Cell]:
    """Arrays and json as a flat row of cells, the members of an object sorted."""
    if isinstance(value, dict):
        yield "open", "{"
        for name in sorted(value):
            yield "name", name
            yield from _parts(value[name])
        yield "close", "}"
    elif isinstance(value, list | tuple):
        yield "open", "["
        for item in value:
            yield from _parts(item)
        yield "close", "]"
    else:
        yield canonical(value)


_FORMS: dict[type, Callable[[Any], Cell]] = {
    str: lambda value: ("text", value),
    bool: lambda value: ("bool", value),
    int: lambda value: ("number", value),
    Decimal: lambda value: ("nan", None) if value.is_nan() else ("number", value),
    float: lambda value: ("nan", None) if math.isnan(value) else ("double", value),
    NoneType: lambda _: ("null", None),
    datetime: lambda value: ("moment", value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value),
    date: lambda value: ("moment", datetime(value.year, value.month, value.day)),
    time: lambda value: ("time", value),
    timedelta: lambda value: ("interval", value),
    bytes: lambda value: ("bytes", value),
    list: lambda value: ("array", tuple(_parts(value))),
    tuple: lambda value: ("record", tuple(_parts(value))),
    dict: lambda value: ("object", tuple(_parts(value))),
    Json: lambda value: value.cell,
    Typed: lambda value: value.cell,
}


def holds_double(cells: Sequence[Cell]) -> bool:
    """Whether any of the cells is a double, or an array, json or range that holds one."""
    tags = {tag for tag, _ in cells}
    nested = (content for tag, content in cells if tag in NESTED) if tags & NESTED else ()
    return "double" in tags or any(tag == "double" for content in nested for tag, _ in content)


def _leaves(cell: Cell) -> Sequence[Cell]:
    return cell[1] if cell[0] in NESTED else (cell,)


def alike(one: Sequence[Cell], other: Sequence[Cell]) -> bool:
    """Whether two rows of sort keys are equal."""
    for mine, theirs in zip(one, other, strict=True):
        doubles = "double" in (mine[0], theirs[0])
        if mine != theirs and not (doubles and _close(_as_float(mine), _as_float(theirs))):
            return False
    return True


def comparable(gold: Sequence[Cell], candidate: Sequence[Cell]) -> tuple[list[Hashable], list[Hashable]]:
    """Keys under which one gold and one candidate column may be compared by ``==``, when doubles are among them."""
    gold_names, candidate_names = _name(_floats(gold), _floats(candidate))
    return [_renamed(cell, gold_names) for cell in gold], [_renamed(cell, candidate_names) for cell in candidate]


def profile(cells: Sequence[Cell]) -> Profile:
    """A column's numbers in order, and how often it holds each other value: what equal columns must share."""
    values = [(_as_float(cell), cell) for cell in cells]
    numbers = sorted(value for value, _ in values if value is not None)
    return numbers, Counter(cell for value, cell in values if value is None and cell[0] not in NESTED)


def may_be_equal(one: Profile, other: Profile) -> bool:
    """Whether two columns with these profiles can hold the same values in some order; a quick look only."""
    widest = (CHAIN + 1) * TOLERANCE
    alike_in_number = len(one[0]) == len(other[0]) and one[1] == other[1]
    return alike_in_number and all(_close(mine, theirs, widest) for mine, theirs in zip(one[0], other[0], strict=True))


def _floats(cells: Sequence[Cell]) -> set[float]:
    """All numbers in a column, as doubles."""
    values = (_as_float(leaf) for cell in cells for leaf in _leaves(cell))
    return {value for value in values if value is not None}


def _as_float(cell: Cell) -> float | None:
    """A number as a double; ``None`` for other values, and for numbers too large for one."""
    tag, content = cell
    if tag == "double":
        return float(content)
    if tag != "number":
        return None
    value = float(Decimal(content))  # by way of Decimal, for which no int is too large
    return None if math.isinf(value) and Decimal(content).is_finite() else value


def _renamed(cell: Cell, names: dict[float, int]) -> Hashable:
    leaves = [_cluster_of(leaf, names) for leaf in _leaves(cell)]
    return (cell[0], *leaves) if cell[0] in NESTED else leaves[0]


def _cluster_of(leaf: Cell, names: dict[float, int]) -> Cell:
    value = _as_float(leaf)
    return leaf if value is None else ("cluster", names[value])


def _close(one: float | None, other: float | None, tolerance: float = TOLERANCE) -> bool:
    if one is None or other is None or math.isinf(one) or math.isinf(other):
        return one == other
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def _name(gold: set[float], candidate: set[float]) -> tuple[dict[float, int], dict[float, int]]:
    """Numbers for the values of both columns; equal numbers mean equal values.

    Neighbours within the tolerance get one number, as long as they form no long chain (seconds since 1970 do); of
    those, a candidate's value takes the number of the gold's value nearest to it.
    """
    gold_names: dict[float, int] = {}
    candidate_names: dict[float, int] = {}
    for run in _runs(sorted(gold | candidate), TOLERANCE):
        number = len(gold_names) + len(candidate_names)
        if _close(run[0], run[-1], CHAIN * TOLERANCE):
            gold_names |= dict.fromkeys(gold.intersection(run), number)
            candidate_names |= dict.fromkeys(candidate.intersection(run), number)
            continue
        groups = enumerate(_runs([value for value in run if value in gold], NOISE))
        grid = [(value, number + at) for at, group in groups for value in group]
        gold_names |= dict(grid)
        for value in candidate.intersection(run):
            near = _nearest(grid, value)
            candidate_names[value] = near[1] if near and _close(near[0], value) else -1 - len(candidate_names)
    return gold_names, candidate_names


def _runs(ordered: list[float], tolerance: float) -> list[list[float]]:
    """Sorted values cut wherever two neighbours are further apart than the tolerance."""
    runs = [ordered[:1]] if ordered else []
    for low, high in pairwise(ordered):
        if _close(low, high, tolerance):
            runs[-1].append(high)
        else:
            runs.append([high])
    return runs


def _nearest(grid: list[tuple[float, int]], value: float) -> tuple[float, int] | None:
    at = bisect_left(grid, (value, 0))
    return min(grid[max(0, at - 1) : at + 1], key=lambda point: abs(point[0] - value), default=None)
