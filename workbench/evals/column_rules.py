"""Rules that the rows of a table obey among its columns, though no constraint says so.

Looked for in the rows at hand: one column follows from another (a city from its code), or is NULL where another says
so; one text lies within another (the year of a date); two numbers make a third by sum or product; start never comes
after end. Whoever shuffles one such column without the other makes rows that could not be, on which right queries
differ. A rule that a few rows obey by luck is found too, which costs nothing but a shuffle less.

    >>> dependent_pairs(orders, {0})          # columns 2 and 3 make 4
    {(2, 3), (2, 4)}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import combinations, permutations
from typing import Any

from workbench.evals.table_data import TableData

SAMPLED = 500  # rows in which rules are looked for
BY_LUCK = 0.2  # a rule this likely to be chance is none
LEAST_TRIPLES = 4  # different ones that must add up
SHORTEST = 4  # characters of a text within another

Cells = Sequence[str | None]


def dependent_pairs(table: TableData, identifiers: set[int]) -> set[tuple[int, int]]:
    """Pairs of columns one of which depends on the other, by declaration or in the rows at hand.

    Args:
        table: with its rows.
        identifiers: columns whose numbers only name things, so that sums and comparisons of them mean nothing.
    """
    rows = table.rows[:SAMPLED]
    columns = [[row[at] for row in rows] for at in range(len(table.columns))]
    pairs = {pair for check in table.checks for pair in combinations(sorted(check), 2)}
    for left, right in permutations(range(len(columns)), 2):
        if _follows(columns[left], columns[right]) or _null_follows(columns[left], columns[right]):
            pairs.add((left, right))
    texts = [[_bare(cell) for cell in column] for column in columns]
    pairs |= {pair for pair in permutations(range(len(columns)), 2) if _within(texts[pair[0]], texts[pair[1]])}
    amounts = [at for at in _of_kind(table, "N") if at not in identifiers]
    return pairs | _ordered_pairs(table, columns, amounts) | _arithmetic_pairs(columns, amounts)


def _follows(left: Cells, right: Cells) -> bool:
    """Whether ``right`` is the same wherever ``left`` is, too often for luck."""
    seen: dict[str | None, str | None] = {}
    repeats = 0
    for one, other in zip(left, right, strict=True):
        if one in seen:
            repeats += 1
            if seen[one] != other:
                return False
        seen[one] = other
    counts = Counter(right)
    alike = sum((count / len(right)) ** 2 for count in counts.values()) if right else 1.0
    return len(counts) > 1 and repeats > 0 and alike**repeats < BY_LUCK


def _null_follows(left: Cells, right: Cells) -> bool:
    """Whether ``left``, or its being NULL, tells where ``right`` is NULL."""
    empty = ["" if cell is None else "x" for cell in right]
    return _follows(left, empty) or _follows(["" if cell is None else "x" for cell in left], empty)


def _bare(cell: str | None) -> str | None:
    return None if cell is None else re.sub(r"[\W_]+", "", cell.lower())


def _within(left: Cells, right: Cells) -> bool:
    """Whether each text of ``left`` is part of its neighbour: a year of a date, a name of a full name."""
    both = [(one, other) for one, other in zip(left, right, strict=True) if one is not None and other is not None]
    return len(both) > 1 and all(len(one) >= SHORTEST and one in other for one, other in both)


def _ordered_pairs(table: TableData, columns: Sequence[Cells], amounts: Sequence[int]) -> set[tuple[int, int]]:
    """Pairs like start and end: never the wrong way round, though their ranges overlap."""
    numbers = {at: [_number(cell) for cell in columns[at]] for at in amounts}
    moments = {at: columns[at] for at in _of_kind(table, "D")}  # ISO dates sort as text
    found = {pair for pair in permutations(numbers, 2) if _never_after(numbers[pair[0]], numbers[pair[1]])}
    return found | {pair for pair in permutations(moments, 2) if _never_after(moments[pair[0]], moments[pair[1]])}


def _of_kind(table: TableData, category: str) -> list[int]:
    return [at for at, column in enumerate(table.columns) if column.category == category]


def _never_after(left: Sequence[Any], right: Sequence[Any]) -> bool:
    both = [(one, other) for one, other in zip(left, right, strict=True) if one is not None and other is not None]
    if len(both) < 2 or max(one for one, _ in both) <= min(other for _, other in both):
        return False
    return all(one <= other for one, other in both)


def _number(cell: str | None) -> Decimal | None:
    if cell is None:
        return None
    try:
        value = Decimal(cell)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _arithmetic_pairs(columns: Sequence[Cells], amounts: Sequence[int]) -> set[tuple[int, int]]:
    """Pairs of columns that take part in a sum or a product with a third, to the cent."""
    values = {at: [_number(cell) for cell in columns[at]] for at in amounts}
    found: set[tuple[int, int]] = set()
    for left, right in combinations(amounts, 2):
        for total in amounts:
            if total in (left, right):
                continue
            triples = [
                (a, b, c)
                for a, b, c in zip(values[left], values[right], values[total], strict=True)
                if a is not None and b is not None and c is not None
            ]
            if len(set(triples)) >= LEAST_TRIPLES and (_all_near(triples, "sum") or _all_near(triples, "product")):
                found |= {(left, right), (left, total)}
    return found


def _all_near(triples: Sequence[tuple[Decimal, Decimal, Decimal]], kind: str) -> bool:
    for left, right, total in triples:
        made = left + right if kind == "sum" else left * right
        if abs(made - total) > max(Decimal("0.01"), abs(total) / 10**6):
            return False
    return True
