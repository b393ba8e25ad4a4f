"""Other rows for the same tables, on which what was right stays right.

Two queries that ask the same agree on every database that keeps to the schema's rules; two that agree by luck differ
on most. So rows are changed, but only in ways that keep all rules, declared or merely obeyed by the rows at hand:

* Rows are left out. A subset of the rows breaks no rule of the form "no two rows ..." or "in each row ...": keys,
  dependencies between columns, checks, sums. References are kept, both ways: a value that a linked column shared with
  another goes from both or from neither, so no child loses its parent and no parent all its children.
* Columns are shuffled against the rest of their rows, each as a whole: its values stay, hence its NULLs, its
  distinctness and its ties. Keys and linked columns are not, and columns that depend on one another (one follows from
  the other, sums and products, start before end, NULL together, one text within another) are shuffled as one, or not
  at all where one of them stays.
* Values that golds compare with replace a few others (``workbench.evals.planting``), in columns tied to none.

The idea is Zhong, Yu and Klein's test suites (2020, arXiv 2010.02840), which draw rows at random; here they are drawn
from those given, because a question's gold often names what is in them.

    rows = Perturbation(data, links).rows(seed=1)
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from workbench.evals.column_rules import dependent_pairs
from workbench.evals.gold_columns import is_identifier
from workbench.evals.planting import Plant
from workbench.evals.table_data import Data, Link, Row, TableData

SHARES = (0.35, 0.25, 0.15, 0.1, 0.05)  # of rows to leave out, tried from the largest
PLANTED = 0.8  # how likely each plant is used
ATTEMPTS = 4  # for each share
LEAST_KEPT = 0.4  # of each table's rows

Protected = Mapping[str, set[int]]  # rows by table that must stay as they are


class Perturbation:
    """Draws other rows for one database.

    Args:
        data: tables as they are.
        links: pairs of columns that are joined, foreign keys included.
        fixed: further columns by table that are not to be shuffled.
    """

    def __init__(self, data: Data, links: Sequence[Link], fixed: Mapping[str, set[int]] | None = None) -> None:
        self.data = data
        self.links = links
        self.fixed = fixed or {}

    def rows(self, seed: int, protected: Protected | None = None, plants: Sequence[Plant] = ()) -> dict[str, list[Row]]:
        """Rows by table, the same for the same seed.

        Args:
            seed: of what is drawn.
            protected: rows by table that must stay as they are.
            plants: values of which each may replace another in a free column.
        """
        draw = random.Random(seed)  # noqa: S311 (nothing here is secret)
        held = protected or {}
        kept = self._thinned(draw, held)
        moving = {
            name: [new for new, at in enumerate(rows) if at not in held.get(name, ())] for name, rows in kept.items()
        }
        rows = {
            name: _shuffled([list(table.rows[at]) for at in kept[name]], moving[name], self.bundles[name], draw)
            for name, table in self.data.tables.items()
        }
        for plant in plants:
            table, column = plant.place
            if column in self.free[table] and len(moving[table]) > 1 and draw.random() < PLANTED:
                rows[table][draw.choice(moving[table])][column] = plant.text
        return rows

    @cached_property
    def free(self) -> dict[str, set[int]]:
        """Columns by table that may hold any value: no other, no key and no check depends on them."""
        checked = {name: {at for check in one.checks for at in check} for name, one in self.data.tables.items()}
        return {name: {one[0] for one in ones if len(one) == 1} - checked[name] for name, ones in self.bundles.items()}

    @cached_property
    def bundles(self) -> dict[str, list[list[int]]]:
        """Groups of columns by table that may be shuffled against the rest of the row, each group as one."""
        return {
            name: free_bundles(table, _linked(name, self.links) | self.fixed.get(name, set()))
            for name, table in self.data.tables.items()
        }

    @cached_property
    def _inclusions(self) -> list[Link]:
        """Links, either way round, whose every value is found on the other side."""
        both = [one for link in self.links for one in (link, _reverse(link))]
        return [one for one in both if _values(self.data, one) <= _values(self.data, _reverse(one))]

    def _thinned(self, draw: random.Random, protected: Protected) -> dict[str, list[int]]:
        """Indexes of the rows that stay."""
        kept: dict[str, set[int]] = {}
        for names in self._clusters:
            kept |= self._thinned_cluster(names, draw, protected)
        return {name: sorted(kept[name]) for name in self.data.tables}

    def _thinned_cluster(self, names: Sequence[str], draw: random.Random, protected: Protected) -> dict[str, set[int]]:
        """Of tables that refer to one another; all rows where leaving out any draws in too many others."""
        tables = {name: self.data.tables[name] for name in names}
        links = [link for link in self._inclusions if link.table in tables]
        for share in (share for share in SHARES for _ in range(ATTEMPTS)):
            kept = {
                name: {at for at in range(len(table.rows)) if draw.random() >= share} | protected.get(name, set())
                for name, table in tables.items()
            }
            self._close(kept, links)
            if _acceptable(tables, kept, protected):
                return kept
        return {name: set(range(len(table.rows))) for name, table in tables.items()}

    @cached_property
    def _clusters(self) -> list[list[str]]:
        """Tables that inclusions tie together, however indirectly."""
        group = {name: name for name in self.data.tables}
        for link in self._inclusions:
            old, new = group[link.table], group[link.other]
            group = {name: new if one == old else one for name, one in group.items()}
        return [[name for name, one in group.items() if one == head] for head in dict.fromkeys(group.values())]

    def _close(self, kept: dict[str, set[int]], links: Sequence[Link]) -> None:
        """Leave out what shares a value with rows that were left out, until nothing does."""
        changed = True
        while changed:
            changed = False
            for link in links:
                there = _values(self.data, _reverse(link), kept[link.other])
                rows = self.data.tables[link.table].rows
                lost = {at for at in kept[link.table] if not _found(_cells(rows[at], link.columns), there)}
                kept[link.table] -= lost
                changed |= bool(lost)


_Cells = tuple[str | None, ...]


def _cells(row: Row, columns: Iterable[int]) -> _Cells:
    return tuple(row[column] for column in columns)


def _found(cells: _Cells, there: set[_Cells]) -> bool:
    return None in cells or cells in there


def _reverse(link: Link) -> Link:
    return Link(link.other, link.other_columns, link.table, link.columns)


def _values(data: Data, link: Link, rows: Iterable[int] | None = None) -> set[_Cells]:
    """Values of a link's own side, those with NULL left out."""
    table = data.tables[link.table]
    chosen = range(len(table.rows)) if rows is None else rows
    return {cells for at in chosen if None not in (cells := _cells(table.rows[at], link.columns))}


def _acceptable(tables: Mapping[str, TableData], kept: Mapping[str, set[int]], protected: Protected) -> bool:
    if any(not protected.get(name, set()) <= kept[name] for name in tables):
        return False
    sizes = [(len(kept[name]), len(table.rows)) for name, table in tables.items() if table.rows]
    return all(few >= max(1, LEAST_KEPT * many) for few, many in sizes) and any(few < many for few, many in sizes)


def _linked(name: str, links: Sequence[Link]) -> set[int]:
    return {column for link in links for one in (link, _reverse(link)) if one.table == name for column in one.columns}


def free_bundles(table: TableData, fixed: set[int]) -> list[list[int]]:
    """Groups of columns, each to be shuffled as one; none with a key, an identifier or one of ``fixed``."""
    staying = fixed | {column for key in table.keys for column in key}
    staying |= {at for at, column in enumerate(table.columns) if is_identifier(column)}
    group = list(range(len(table.columns)))
    for left, right in dependent_pairs(table, staying):
        old, new = group[left], group[right]
        group = [new if one == old else one for one in group]
    bundles: dict[int, list[int]] = {}
    for column, number in enumerate(group):
        bundles.setdefault(number, []).append(column)
    return sorted(bundle for bundle in bundles.values() if not staying & set(bundle))


def _shuffled(
    rows: list[Row], moving: Sequence[int], bundles: Sequence[Sequence[int]], draw: random.Random
) -> list[Row]:
    """The rows, with each bundle of columns dealt out anew among those that move."""
    for bundle in bundles:
        dealt = list(moving)
        draw.shuffle(dealt)
        dealt_cells = [_cells(rows[source], bundle) for source in dealt]
        for new, cells in zip(moving, dealt_cells, strict=True):
            for column, cell in zip(bundle, cells, strict=True):
                rows[new][column] = cell
    return rows
