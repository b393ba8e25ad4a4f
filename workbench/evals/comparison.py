"""Do two results hold the same answer? Rows as a multiset, columns by content, values by meaning.

A candidate is right when it has as many rows as the gold and one injective mapping of the gold's
columns to its own makes the two bags of rows equal. Names are ignored and further columns allowed. The mapping
must hold for whole rows: that each column alone matches is not enough. It is found by backtracking; after
each column the bags of row prefixes must agree, which ends nearly every wrong branch at once.

Values: int and numeric are equal by value, exactly; as soon as one side is a double, within 1e-9
relative; NULL equals NULL only, NaN equals NaN; bool is no int; a date equals its midnight;
aware timestamps are read in UTC. Doubles that lie within the tolerance are put into one cluster first, so
that equality is transitive and bags can be counted.

Order is compared by labelling: row *i* carries the number of its group of equal sort keys, and labels
take part in the bags. So ties may swap and nothing else may. A LIMIT that cuts a tie makes every
row of the cut group as good as any other (``Expected.tied``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from types import NoneType
from typing import Any

TOLERANCE = 1e-9  # relative, for doubles
MAX_STEPS = 20_000  # columns tried before a mapping is given up; a question needs about as many as it has columns

Row = Sequence[Any]
Cell = tuple[str, Any]


@dataclass(frozen=True)
class Json:
    """A json or jsonb value, so that json ``null`` is not taken for NULL."""

    value: Any

    @cached_property
    def cell(self) -> Cell:
        """The value in canonical form."""
        return _nested(self.value)


@dataclass(frozen=True)
class Expected:
    """What a right answer holds.

    Attributes:
        width: number of gold columns.
        rows: rows that must be there.
        groups: for ordered answers, for each answer row the number of its group of equal sort keys.
        tied: rows of which ``count - len(rows)`` must follow, any of them: the tie a LIMIT cut.
        count: number of rows of the answer.
    """

    width: int
    rows: tuple[Row, ...]
    count: int
    groups: tuple[int, ...] | None = None
    tied: tuple[Row, ...] = ()

    @cached_property
    def columns(self) -> list[list[Cell]]:
        """Canonical cells of ``rows`` and ``tied``, by column."""
        return _columns([*self.rows, *self.tied], self.width)


@dataclass(frozen=True)
class Comparison:
    """Whether a candidate is right; ``exact`` when its columns are the gold's in the same order, no more."""

    correct: bool
    exact: bool
    reason: str


def compare(expected: Expected, rows: Sequence[Row], width: int) -> Comparison:
    """Compare a candidate's result with the gold's.

    Args:
        expected: the gold's answer.
        rows: all rows of the candidate, in its order, as Python values.
        width: number of the candidate's columns (rows may be none).
    """
    if len(rows) != expected.count:
        return Comparison(False, False, f"{len(rows)} rows, the gold has {expected.count}")
    if width < expected.width:
        return Comparison(False, False, f"{width} columns, the gold has {expected.width}")
    search = _Search(expected, rows, width)
    if width == expected.width and search.follow(range(width)):
        return Comparison(True, True, "")
    if search.find():
        return Comparison(True, False, "further columns" if width > expected.width else "columns in another order")
    unordered = Expected(expected.width, expected.rows, expected.count, None, expected.tied)
    if expected.groups is not None and _Search(unordered, rows, width).find():
        return Comparison(False, False, "right rows in the wrong order")
    return Comparison(False, False, "values differ")


class _Search:
    """Backtracking over the gold's columns, scarcest first; a state is the label of each row's prefix."""

    def __init__(self, expected: Expected, rows: Sequence[Row], width: int) -> None:
        self.expected = expected
        self.columns = _columns(rows, width)
        self.keys: dict[tuple[int, int], tuple[list[Hashable], list[Hashable]]] = {}
        self.steps = 0
        groups = expected.groups or (0,) * expected.count
        cut = groups[-1:] * len(expected.tied)
        self.start = ([*groups[: len(expected.rows)], *cut], list(groups))

    def follow(self, mapping: Sequence[int]) -> bool:
        """Whether this very mapping (candidate column of each gold column) holds."""
        gold, candidate = self.start
        for column, choice in enumerate(mapping):
            gold, candidate = self._refine(gold, candidate, column, choice)
        return self._agree(gold, candidate)

    def find(self) -> bool:
        """Whether any mapping holds."""
        width = self.expected.width
        options = {
            column: [
                choice for choice in range(len(self.columns)) if self._agree(*self._refine(*self.start, column, choice))
            ]
            for column in range(width)
        }
        order = sorted(options, key=lambda column: len(options[column]))
        return self._extend(order, options, frozenset(), *self.start)

    def _extend(
        self,
        order: list[int],
        options: dict[int, list[int]],
        used: frozenset[int],
        gold: list[int],
        candidate: list[int],
    ) -> bool:
        if not order:
            return self._agree(gold, candidate)
        tried: list[tuple[list[int], list[int]]] = []
        for choice in options[order[0]]:
            if choice in used or self.steps >= MAX_STEPS:
                continue
            self.steps += 1
            state = self._refine(gold, candidate, order[0], choice)
            if state in tried or not self._agree(*state):
                continue
            tried.append(state)
            if self._extend(order[1:], options, used | {choice}, *state):
                return True
        return False

    def _refine(self, gold: list[int], candidate: list[int], column: int, choice: int) -> tuple[list[int], list[int]]:
        """Labels after one more column: equal labels are equal prefixes, on both sides."""
        if (column, choice) not in self.keys:
            self.keys[column, choice] = _comparable(self.expected.columns[column], self.columns[choice])
        gold_keys, candidate_keys = self.keys[column, choice]
        names: dict[tuple[int, Hashable], int] = {}
        return (
            [names.setdefault(pair, len(names)) for pair in zip(gold, gold_keys, strict=True)],
            [names.setdefault(pair, len(names)) for pair in zip(candidate, candidate_keys, strict=True)],
        )

    def _agree(self, gold: list[int], candidate: list[int]) -> bool:
        """Whether the bags are equal, any tied rows filling up what is missing."""
        fixed = len(self.expected.rows)
        needed, found = Counter(gold[:fixed]), Counter(candidate)
        if not self.expected.tied:
            return needed == found
        return needed <= found and found - needed <= Counter(gold[fixed:])


def _columns(rows: Sequence[Row], width: int) -> list[list[Cell]]:
    return [[canonical(row[column]) for row in rows] for column in range(width)]


def canonical(value: Any) -> Cell:
    """A tagged, hashable form in which values that mean the same are equal (doubles apart)."""
    for kind, form in _FORMS:
        if isinstance(value, kind):
            return form(value)
    return "text", str(value)


def _nested(value: Any) -> Cell:
    """Inside arrays and json a double counts as its shortest decimal, to nine digits."""
    tag, content = canonical(value)
    return ("number", Decimal(f"{content:.9g}")) if tag == "double" else (tag, content)


_FORMS: tuple[tuple[type, Callable[[Any], Cell]], ...] = (
    (str, lambda value: ("text", value)),
    (bool, lambda value: ("bool", value)),
    (int, lambda value: ("number", value)),
    (Decimal, lambda value: ("nan", None) if value.is_nan() else ("number", value)),
    (float, lambda value: ("nan", None) if math.isnan(value) else ("double", value)),
    (NoneType, lambda _: ("null", None)),
    (datetime, lambda value: ("moment", value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)),
    (date, lambda value: ("moment", datetime(value.year, value.month, value.day))),
    (time, lambda value: ("time", value)),
    (timedelta, lambda value: ("interval", value)),
    (bytes, lambda value: ("bytes", value)),
    (list, lambda value: ("array", tuple(map(_nested, value)))),
    (tuple, lambda value: ("array", tuple(map(_nested, value)))),
    (Json, lambda value: ("json", value.cell)),
    (dict, lambda value: ("object", frozenset((name, _nested(item)) for name, item in value.items()))),
)


def _comparable(gold: list[Cell], candidate: list[Cell]) -> tuple[list[Hashable], list[Hashable]]:
    """Keys under which one gold and one candidate column may be compared by ``==``."""
    cells = {*gold, *candidate}
    if not any(tag == "double" for tag, _ in cells):
        return list(gold), list(candidate)
    clusters = _clusters({_as_float(content) for tag, content in cells if tag in ("double", "number")})
    return [_clustered(cell, clusters) for cell in gold], [_clustered(cell, clusters) for cell in candidate]


def _as_float(content: float | Decimal) -> float:
    return float(Decimal(content))  # by way of Decimal, for which no int is too large


def _clusters(values: set[float]) -> dict[float, int]:
    """Numbers of the runs in which each value lies within the tolerance of the one before."""
    ordered = sorted(values)
    number = 0
    clusters = {value: 0 for value in ordered[:1]}
    for low, high in pairwise(ordered):
        number += not high - low <= TOLERANCE * max(abs(low), abs(high)) or high - low == float("inf")
        clusters[high] = number
    return clusters


def _clustered(cell: Cell, clusters: dict[float, int]) -> Hashable:
    tag, content = cell
    return ("cluster", clusters[_as_float(content)]) if tag in ("double", "number") else cell
