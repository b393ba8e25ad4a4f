"""Two results compared as sql-eval compares them: as pandas frames, by the same calls in the same order.

``equal`` is its ``exact_match``: the values are the same at once, or after duplicate rows are dropped, columns sorted
by name, rows sorted and NULL replaced by -99999. ``contained`` is what else it calls correct: each gold column finds a
candidate column that holds the same values when sorted, first come, first served (relative tolerance 1e-5), and the
columns found make the gold's frame. Where an order is asked for rows are not sorted; ``equal`` then sorts each frame
by the words after its own ORDER BY, so that a flipped direction passes.

Types are pandas': numeric is read as double, an int with NULL too, a date is no timestamp. pandas 2 and 3 differ here,
for sql-eval as for this module (3 fails to put a number in place of NULL among texts and times).

    gold, answer = Result(table), Result(other)
    equal(gold, answer, Asked("How many?", "ratio"), "SELECT ...", broadcasting=False)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.evals.cells import Json
from workbench.evals.sandbox import Table

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

NULL = -99999
# What pandas and numpy raise on values they cannot hash, sort, label or compare. sql-eval counts it as an error.
CRASHES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_ASKS_FOR_ORDER = re.compile(r"\b(order|sort|arrange)\b")
_ORDER_BY = re.compile("ORDER BY", re.IGNORECASE)
_SORT_WORDS = re.compile(r"(?<=ORDER BY).*?(?=[;,)]|$)", re.IGNORECASE)
_NOT_COLUMNS = frozenset(("desc", "asc", "nulls", "last", "first", "limit"))


@dataclass(frozen=True)
class Asked:
    """What sql-eval looks at besides the results: the question, its category and its gold text, not expanded."""

    question: str
    category: str
    gold_sql: str = ""

    @cached_property
    def ordered(self) -> bool:
        """Whether rows keep the order the query gave them."""
        return self.category == "order_by" or bool(_ASKS_FOR_ORDER.search(self.question.lower()))


class Result:
    """One query's result as pandas holds it, with what is made of it more than once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._columns: dict[str, pandas.Series] = {}
        self._normal: dict[str | None, pandas.DataFrame] = {}

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """The result as sql-eval reads it."""
        return to_frame(self.table)

    @cached_property
    def named_apart(self) -> pandas.DataFrame:
        """The frame with duplicate column names made different."""
        return _named_apart(self.frame.copy())

    def column(self, name: str) -> pandas.Series:
        """One column, sorted; raises where there are two of that name or values that do not sort."""
        if name not in self._columns:
            self._columns[name] = self.named_apart[name].sort_values().reset_index(drop=True)
        return self._columns[name]

    def normal(self, asked: Asked, sql: str) -> pandas.DataFrame:
        """The frame normalized for ``equal``."""
        if sql not in self._normal:
            self._normal[sql] = _normalize(self.frame, asked.ordered, sql)
        return self._normal[sql]

    def normal_by_itself(self, asked: Asked) -> pandas.DataFrame:
        """The frame normalized for ``contained``, where sql-eval does not look at the SQL."""
        if None not in self._normal:
            self._normal[None] = _normalize(self.named_apart, asked.ordered)
        return self._normal[None]


def to_frame(table: Table) -> pandas.DataFrame:
    """A result as ``pandas.read_sql_query`` returns it: numeric as float, int with NULL as float, dates as objects."""
    import pandas

    rows: Sequence[Sequence[Any]] = table.rows
    if any(isinstance(value, Json) for row in rows for value in row):
        rows = [tuple(_plain(value.value) if isinstance(value, Json) else value for value in row) for row in rows]
    return pandas.DataFrame.from_records(rows, columns=list(table.names), coerce_float=True)


def _plain(value: Any) -> Any:
    """A json value as the driver itself loads it, with doubles."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def _named_apart(frame: pandas.DataFrame) -> pandas.DataFrame:
    names = list(frame.columns)
    counts = Counter(names)
    if len(counts) < len(names):
        frame.columns = [f"{name}_{at}" if counts[name] > 1 else name for at, name in enumerate(names)]
    return frame


def _normalize(frame: pandas.DataFrame, ordered: bool, sql: str = "") -> pandas.DataFrame:
    frame = frame.drop_duplicates()
    frame = frame.reindex(sorted(frame.columns), axis=1)
    if not ordered:
        frame = frame.sort_values(by=list(frame.columns))
    elif _ORDER_BY.search(sql):
        frame = _sort_as_written(frame, sql)
    return _named_apart(frame).reset_index(drop=True)


def _sort_as_written(frame: pandas.DataFrame, sql: str) -> pandas.DataFrame:
    """Sort by the words after ORDER BY that name columns, in the direction found among them; these columns go last."""
    found = _SORT_WORDS.search(sql)
    words = [word.rsplit(".", 1)[-1] for word in found[0].split()] if found else []
    directions = {word.upper() for word in words}
    words = [word.replace(",", "").replace("(", "") for word in words]
    words = [word for word in words if word.lower() not in _NOT_COLUMNS]
    others = [name for name in frame.columns if name not in words]
    keys = [word for word in words if word in frame.columns]
    frame = frame.sort_values(by=keys + others, ascending="ASC" in directions and "DESC" not in directions)
    return frame[others + keys]


def equal(gold: Result, answer: Result, asked: Asked, sql: str, *, broadcasting: bool) -> bool:
    """sql-eval's ``exact_match``.

    Args:
        gold: of one gold query.
        answer: the candidate's.
        asked: the question.
        sql: the candidate, whose ORDER BY is looked at.
        broadcasting: compare frames of different shapes too, as numpy does.

    Raises:
        One of ``CRASHES``, where sql-eval raises it.
    """
    if broadcasting or gold.frame.shape == answer.frame.shape:
        try:
            if _same_values(gold.frame.to_numpy(), answer.frame.to_numpy()):
                return True
        except CRASHES:
            pass  # shapes that do not broadcast, values that do not compare: sql-eval goes on
    left, right = gold.normal(asked, asked.gold_sql), answer.normal(asked, sql)
    return left.shape == right.shape and _same_values(_filled(left), _filled(right))


def _filled(frame: pandas.DataFrame) -> Any:
    """Values with NULLs replaced, in place as in sql-eval: otherwise pandas accepts what it raises on in place."""
    frame = frame.copy()
    frame.fillna(NULL, inplace=True)
    return frame.to_numpy()


def _same_values(left: Any, right: Any) -> bool:
    """Whether two arrays of values are equal, by numpy's rules; raises where they do not broadcast."""
    import numpy

    return bool(numpy.all(left == right))


def contained(gold: Result, answer: Result, asked: Asked) -> bool:
    """What sql-eval calls correct though not equal: the gold's columns are found among the answer's.

    Raises:
        One of ``CRASHES``, where sql-eval raises it.
    """
    from pandas.testing import assert_frame_equal  # type: ignore[import-untyped]

    if gold.frame.empty:
        return False
    found: list[str] = []
    for name in gold.named_apart.columns:
        rest = (other for other in answer.named_apart.columns if other not in found)
        match = next((other for other in rest if _alike(gold.column(name), answer.column(other))), None)
        if match is None:
            return False
        found.append(match)
    chosen = answer.frame[found].rename(columns=dict(zip(found, gold.named_apart.columns, strict=True)))
    try:
        assert_frame_equal(gold.normal_by_itself(asked), _normalize(chosen, asked.ordered), check_dtype=False)
    except AssertionError:
        return False
    return True


def _alike(gold: pandas.Series, answer: pandas.Series) -> bool:
    """Whether two sorted columns hold the same values, within pandas' tolerance (relative 1e-5, absolute 1e-8)."""
    from pandas.testing import assert_series_equal

    if len(gold) != len(answer):
        return False
    try:
        assert_series_equal(gold, answer, check_dtype=False, check_names=False)
    except AssertionError:
        return False
    return True
