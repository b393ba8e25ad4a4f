"""Find the columns of a candidate's result that stand for the gold's columns.

Wanted is an injective mapping of gold columns to candidate columns under which both bags of rows are equal. Every
row carries a label that names its prefix over the columns mapped so far; one more column refines the labels, and
unless the bags of labels agree the branch is dead. Backtracking takes the gold column with the fewest choices first;
after a real choice, the choices left for all other columns are tried on the new labels, so that a wrong turn shows
at once. Equal candidate columns are tried once.

    >>> columns = Columns([[("number", 1)]], [[("text", "a")], [("number", 1)]])
    >>> find_mapping(columns, [0], [0], lambda gold, candidate: sorted(gold) == sorted(candidate))
    {0: 1}
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from workbench.evals.cells import Cell, Profile, comparable, holds_double, may_be_equal, profile

MAX_WORK = 10_000_000  # labels made before a mapping is given up, some seconds; a question needs some thousands

Labels = list[int]
Agree = Callable[[Labels, Labels], bool]


class TooMuchWork(Exception):
    """The search was given up."""


class Columns:
    """The cells of two results by column, each cell as a number, so that they are hashed once.

    Args:
        gold: cells of each gold column.
        candidate: cells of each candidate column; there may be fewer or more rows.
    """

    def __init__(self, gold: Sequence[Sequence[Cell]], candidate: Sequence[Sequence[Cell]]) -> None:
        self._cells = (gold, candidate)
        numbers: dict[Hashable, int] = {}
        self.gold = [_numbered(column, numbers) for column in gold]
        self.candidate = [_numbered(column, numbers) for column in candidate]
        self._doubles = [[holds_double(column) for column in side] for side in self._cells]
        self._profiles: dict[tuple[int, int], Profile] = {}
        self._bags: dict[tuple[int, int], Labels] = {}
        self._pairs: dict[tuple[int, int], tuple[Labels, Labels]] = {}
        self.gold_kind = _kinds(self.gold)
        self.candidate_kind = _kinds(self.candidate)

    def pair(self, column: int, choice: int) -> tuple[Labels, Labels]:
        """Numbers of the cells of one gold and one candidate column; equal numbers mean equal values."""
        if not self._doubles[0][column] and not self._doubles[1][choice]:
            return self.gold[column], self.candidate[choice]
        kinds = self.gold_kind[column], self.candidate_kind[choice]
        if kinds not in self._pairs:
            numbers: dict[Hashable, int] = {}
            keys = comparable(self._cells[0][column], self._cells[1][choice])
            self._pairs[kinds] = _numbered(keys[0], numbers), _numbered(keys[1], numbers)
        return self._pairs[kinds]

    def may_match(self, column: int, choice: int) -> bool:
        """Whether the two columns hold the same values, as far as a look at each by itself tells."""
        gold, candidate = self.gold[column], self.candidate[choice]
        if len(gold) != len(candidate):  # the gold holds rows of which some are to be left out
            return True
        if self._doubles[0][column] or self._doubles[1][choice]:
            return may_be_equal(self._profile(0, column), self._profile(1, choice))
        return self._bag(0, column) == self._bag(1, choice)

    def _profile(self, side: int, column: int) -> Profile:
        if (side, column) not in self._profiles:
            self._profiles[side, column] = profile(self._cells[side][column])
        return self._profiles[side, column]

    def _bag(self, side: int, column: int) -> Labels:
        if (side, column) not in self._bags:
            self._bags[side, column] = sorted((self.gold, self.candidate)[side][column])
        return self._bags[side, column]


def _numbered(column: Sequence[Hashable], numbers: dict[Hashable, int]) -> Labels:
    return [numbers.setdefault(cell, len(numbers)) for cell in column]


def _kinds(columns: list[Labels]) -> list[int]:
    """The same number for columns that are equal."""
    numbers: dict[tuple[int, ...], int] = {}
    return [numbers.setdefault(tuple(column), len(numbers)) for column in columns]


def find_mapping(
    columns: Columns, gold: Labels, candidate: Labels, agree: Agree, *, keep: bool = False
) -> dict[int, int] | None:
    """A mapping of gold columns to candidate columns, or ``None``.

    Args:
        columns: both results.
        gold: labels that the gold's rows start with, equal ones for rows that may swap.
        candidate: labels of the candidate's rows.
        agree: whether the candidate's bag of labels is what the gold's asks for.
        keep: allow only the mapping of every column to the one in its place.

    Raises:
        TooMuchWork: whether there is one could not be found out.
    """
    width = len(columns.gold)
    search = _Search(columns, agree)
    if not agree(gold, candidate):
        return None
    if keep:
        return search.extend({column: [column] for column in range(width)}, (gold, candidate), {})
    places = range(len(columns.candidate))
    options = {column: [place for place in places if columns.may_match(column, place)] for column in range(width)}
    options = search.prune(options, (gold, candidate)) if all(options.values()) else options
    return search.extend(options, (gold, candidate), {}) if all(options.values()) else None


class _Search:
    def __init__(self, columns: Columns, agree: Agree) -> None:
        self.columns = columns
        self.agree = agree
        self.work = 0

    def extend(
        self, options: dict[int, list[int]], state: tuple[Labels, Labels], mapping: dict[int, int]
    ) -> dict[int, int] | None:
        """The mapping completed, or ``None``; ``state`` are the labels under what is mapped already."""
        if not options:
            return mapping
        column = min(options, key=lambda each: len(options[each]))
        tried = set()
        for choice in options[column]:
            if self.columns.candidate_kind[choice] in tried:
                continue
            tried.add(self.columns.candidate_kind[choice])
            refined = self._refine(state, column, choice)
            if not self.agree(*refined):
                continue
            rest = {each: [one for one in left if one != choice] for each, left in options.items() if each != column}
            if len(options[column]) > 1:
                rest = self.prune(rest, refined)
            if all(rest.values()) and (found := self.extend(rest, refined, {**mapping, column: choice})) is not None:
                return found
        return None

    def prune(self, options: dict[int, list[int]], state: tuple[Labels, Labels]) -> dict[int, list[int]]:
        """The choices of each column under which the labels, refined by it alone, still agree."""
        known: dict[tuple[int, int], bool] = {}
        left: dict[int, list[int]] = {}
        for column, choices in options.items():
            left[column] = []
            for choice in choices:
                kinds = self.columns.gold_kind[column], self.columns.candidate_kind[choice]
                if kinds not in known:
                    known[kinds] = self.agree(*self._refine(state, column, choice))
                if known[kinds]:
                    left[column].append(choice)
            if not left[column]:
                break
        return left | {column: [] for column in options.keys() - left.keys()}

    def _refine(self, state: tuple[Labels, Labels], column: int, choice: int) -> tuple[Labels, Labels]:
        """Labels after one more column: equal labels are equal prefixes, on both sides."""
        gold, candidate = state
        self.work += len(gold) + len(candidate)
        if self.work > MAX_WORK:
            raise TooMuchWork
        gold_numbers, candidate_numbers = self.columns.pair(column, choice)
        names: dict[int, int] = {}
        return (
            [names.setdefault(a << 32 | b, len(names)) for a, b in zip(gold, gold_numbers, strict=True)],
            [names.setdefault(a << 32 | b, len(names)) for a, b in zip(candidate, candidate_numbers, strict=True)],
        )
