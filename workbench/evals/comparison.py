"""Do two results hold the same answer? Rows as a multiset, columns by content, values by meaning.

A candidate is right when it has as many rows as the gold and one injective mapping of the gold's
columns to its own makes the two bags of rows equal. Names are ignored and further columns allowed. The mapping
must hold for whole rows: that each column alone matches is not enough. ``workbench.evals.mapping`` finds it;
what makes two values equal stands in ``workbench.evals.cells``.

Order is compared by labelling: row *i* carries the number of its group of equal sort keys, and labels
take part in the bags. So ties may swap and nothing else may. A LIMIT or OFFSET that cuts a tie makes every
row of the cut group as good as any other (``Tie``).

    >>> compare(Expected(1, ((1,), (2,)), 2), [("a", 2), ("b", 1)], 2).reason
    'further columns'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from workbench.evals.cells import Cell, canonical
from workbench.evals.mapping import Columns, Labels, TooMuchWork, find_mapping

Row = Sequence[Any]


@dataclass(frozen=True)
class Tie:
    """A group of rows with equal sort keys, of which the answer holds some: the others were cut off.

    Attributes:
        rows: all rows of the group.
        count: how many of them the answer holds, any of them.
        group: the group's number, see ``Expected.groups``.
    """

    rows: tuple[Row, ...]
    count: int
    group: int = 0


@dataclass(frozen=True)
class Expected:
    """What a right answer holds.

    Attributes:
        width: number of gold columns.
        rows: rows that must be there.
        count: number of rows of the answer.
        groups: for ordered answers, for each answer row the number of its group of equal sort keys.
        ties: groups that a LIMIT or an OFFSET cut: at most one of each kind.
    """

    width: int
    rows: tuple[Row, ...]
    count: int
    groups: tuple[int, ...] | None = None
    ties: tuple[Tie, ...] = ()

    @cached_property
    def columns(self) -> list[list[Cell]]:
        """Canonical cells of ``rows`` and then of the ties, by column."""
        return _columns([*self.rows, *(row for tie in self.ties for row in tie.rows)], self.width)

    @property
    def labels(self) -> tuple[Labels, Labels]:
        """The group of each gold row, ordered as ``columns``, and of each row of an answer; all 0 without order."""
        if self.groups is None:
            return [0] * (len(self.rows) + sum(len(tie.rows) for tie in self.ties)), [0] * self.count
        cut = {tie.group for tie in self.ties}
        fixed = [group for group in self.groups if group not in cut]
        return fixed + [tie.group for tie in self.ties for _ in tie.rows], list(self.groups)

    def agrees(self, gold: Labels, candidate: Labels) -> bool:
        """Whether an answer with these labels holds all ``rows``, and of each tie as many as it should."""
        needed, found = Counter(gold[: len(self.rows)]), Counter(candidate)
        if not self.ties:
            return needed == found
        if not needed <= found:
            return False
        found -= needed
        first = len(self.rows) + len(self.ties[0].rows)
        head, tail = Counter(gold[len(self.rows) : first]), Counter(gold[first:])
        at_least = sum(max(0, number - tail[label]) for label, number in found.items())
        at_most = sum(min(head[label], number) for label, number in found.items())
        return found <= head + tail and at_least <= self.ties[0].count <= at_most


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
    try:
        return _compare_rows(expected, Columns(expected.columns, _columns(rows, width)))
    except TooMuchWork:
        return Comparison(False, False, "values differ, as far as could be found out")


def _compare_rows(expected: Expected, columns: Columns) -> Comparison:
    width = len(columns.candidate)
    if width == expected.width and _mapped(expected, columns, keep=True):
        return Comparison(True, True, "")
    if _mapped(expected, columns):
        return Comparison(True, False, "further columns" if width > expected.width else "columns in another order")
    if expected.groups is not None and _mapped(replace(expected, groups=None), columns):
        return Comparison(False, False, "right rows in the wrong order")
    return Comparison(False, False, "values differ")


def _mapped(expected: Expected, columns: Columns, keep: bool = False) -> bool:
    return find_mapping(columns, *expected.labels, expected.agrees, keep=keep) is not None


def _columns(rows: Sequence[Row], width: int) -> list[list[Cell]]:
    return [[canonical(row[column]) for row in rows] for column in range(width)]
