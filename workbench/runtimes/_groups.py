"""Which prompts are decoded together.

Prompts are sorted by their tokens, so those with a long common beginning stand side by side. They form a
family as long as each shares at least half of itself with its neighbour; small families are thrown together, and
share whatever they share. Inside a family rows of similar length go together, which keeps padding small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIN_FAMILY = 4


@dataclass(frozen=True)
class Group:
    """Prompts of one batch.

    Attributes:
        members: their places in the list of prompts.
        prefix: tokens they all start with (at least one token of every prompt is left out of it).
    """

    members: tuple[int, ...]
    prefix: int


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens two sequences have in common at the start."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))


def make_groups(prompts: Sequence[Sequence[int]], most_rows: Callable[[int, int], int]) -> list[Group]:
    """Divide prompts into groups.

    Args:
        prompts: token ids of each.
        most_rows: rows that fit memory, given the longest prompt's tokens in the prefix and after it.
    """
    groups = []
    for family in _families(prompts):
        waiting = sorted(family, key=lambda place: -len(prompts[place]))
        shared = _shared(prompts, waiting)
        while waiting:
            rows = max(1, most_rows(shared, len(prompts[waiting[0]]) - shared))
            members, waiting = waiting[:rows], waiting[rows:]
            groups.append(Group(tuple(members), _shared(prompts, members)))
    return groups


def _families(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    families: list[list[int]] = []
    for place in sorted(range(len(prompts)), key=lambda place: list(prompts[place])):
        last = families[-1][-1] if families else None
        if last is not None and 2 * common_prefix(prompts[last], prompts[place]) >= len(prompts[place]):
            families[-1].append(place)
        else:
            families.append([place])
    large = [family for family in families if len(family) >= MIN_FAMILY]
    rest = [place for family in families if len(family) < MIN_FAMILY for place in family]
    return [*large, rest] if rest else large


def _shared(prompts: Sequence[Sequence[int]], members: Sequence[int]) -> int:
    """Common prefix of some prompts, one token short of the shortest at most."""
    first = prompts[members[0]]
    shared = min(common_prefix(first, prompts[member]) for member in members)
    return min(shared, min(len(prompts[member]) for member in members) - 1)
