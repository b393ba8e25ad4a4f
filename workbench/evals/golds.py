"""Gold answers: one question's gold text, expanded and run.

sql-eval writes several right answers into one cell: alternatives separated by ``;``, and ``{a, b}`` for every
non-empty subset of columns, which ``GROUP BY {}`` repeats. Its 210 questions stand for 367 queries. Each runs
once per loaded database. A gold that fails is a fault of the question set and stops the run: to count it
against the model would be wrong silently.

    >>> expand("SELECT {a, b} FROM t; SELECT c FROM t")
    ['SELECT a FROM t', 'SELECT b FROM t', 'SELECT a, b FROM t', 'SELECT c FROM t']
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import EvaluationError
from workbench.evals.cells import alike, canonical
from workbench.evals.comparison import Expected, Row, Tie, compare
from workbench.evals.ordering import Ordered, with_sort_keys
from workbench.evals.sandbox import QueryFailed, Session, Table
from workbench.evals.tokens import mask, split_statements

if TYPE_CHECKING:
    from workbench.evals.postgres import Database
    from workbench.questions import Question

GOLD_TIMEOUT_S = 60.0
_GROUP_BY = re.compile(r"(GROUP\s+BY\s+)\{\s*\}", re.IGNORECASE)


@dataclass(frozen=True)
class Gold:
    """The accepted answers of one question.

    Attributes:
        answers: one per expanded query.
        weak: why a wrong query could match easily, or empty.
        tables: the plain result of each expanded query.
    """

    answers: tuple[Expected, ...]
    weak: str
    tables: tuple[Table, ...] = ()


def expand(gold: str) -> list[str]:
    """All queries a gold text stands for, in sql-eval's order."""
    return [query for alternative in split_statements(gold) for query in _expand_columns(alternative)]


def _expand_columns(sql: str) -> list[str]:
    shape = mask(sql)
    start = shape.find("{")
    end = shape.find("}", start)
    if start < 0 or end < 0:
        return [sql]
    columns = _split_columns(sql[start + 1 : end])
    subsets = (subset for size in range(1, len(columns) + 1) for subset in itertools.combinations(columns, size))
    return [sql[:start] + chosen + _fill_group_by(sql[end + 1 :], chosen) for chosen in map(", ".join, subsets)]


def _fill_group_by(rest: str, chosen: str) -> str:
    for found in reversed([*_GROUP_BY.finditer(mask(rest))]):
        rest = rest[: found.end(1)] + chosen + rest[found.end() :]
    return rest


def _split_columns(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    shape, depth, cuts = mask(text), 0, [-1]
    for at, character in enumerate(shape):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            cuts.append(at)
    cuts.append(len(text))
    return [text[low + 1 : high].strip() for low, high in itertools.pairwise(cuts)]


def run_golds(questions: list[Question], database: Database, max_rows: int) -> dict[str, Gold]:
    """Gold answers by question id, all of one database; those already run there are not run again.

    Raises:
        EvaluationError: a gold fails or returns more than ``max_rows`` rows.
    """
    missing = [question for question in questions if _key(question) not in database.cache]
    if missing:
        session = database.session(GOLD_TIMEOUT_S)
        try:
            for question in missing:
                database.cache[_key(question)] = _run(question, session, max_rows)
        finally:
            session.close()
    return {question.id: database.cache[_key(question)] for question in questions}


def _key(question: Question) -> tuple[str, bool]:
    return question.query, question.order_matters


def _run(question: Question, session: Session, max_rows: int) -> Gold:
    queries = expand(question.query)
    if not queries:
        raise EvaluationError(f"question {question.id}: the gold holds no SQL; correct its query column")
    answers = []
    tables = []
    weak: list[str] = []
    for sql in queries:
        try:
            table = session.run(sql, max_rows)
        except QueryFailed as error:
            raise EvaluationError(f"question {question.id}: correct its gold, which fails: {error}: {sql}") from error
        if table.truncated:
            raise EvaluationError(
                f"question {question.id}: its gold returns over {max_rows} rows; ask for fewer: {sql}"
            )
        answers.append(_expected(sql, table, session, question.order_matters, max_rows))
        tables.append(table)
        weak += filter(None, [weakness(table)])
    return Gold(tuple(answers), weak[0] if weak else "", tuple(tables))


def weakness(table: Table) -> str:
    """Why luck could match a result: ``empty``, ``all NULL``, ``single cell``; or empty."""
    if not table.rows:
        return "empty"
    if all(value is None for row in table.rows for value in row):
        return "all NULL"
    return "single cell" if len(table.rows) == table.width == 1 else ""


def _expected(sql: str, table: Table, session: Session, order_matters: bool, max_rows: int) -> Expected:
    """The answer one gold query accepts: with its ties, where they can be found out."""
    count = len(table.rows)
    plain = Expected(table.width, tuple(table.rows), count)
    ordered = with_sort_keys(sql, table.names, count) if table.rows else None
    if ordered is None or not (ordered.cuts or (order_matters and ordered.sorts)):
        return plain
    if order_matters and ordered.sorts:  # without knowing its ties, as it stands
        plain = Expected(table.width, plain.rows, count, tuple(range(count)))
    try:
        keyed = session.run(ordered.sql or "SELECT", max_rows)
    except QueryFailed:
        return plain
    if keyed.truncated or keyed.width - ordered.appended != table.width or len(keyed.rows) < ordered.skipped + count:
        return plain
    found = _with_ties(ordered, keyed.rows, table, order_matters)
    return found if compare(found, table.rows, table.width).exact else plain


def _with_ties(ordered: Ordered, rows: Sequence[Row], table: Table, order_matters: bool) -> Expected:
    """Cut the keyed rows into those that must be there and those that tie for the first or the last places."""
    keys = [tuple(canonical(row[place]) for place in ordered.keys) for row in rows]
    steps = (not alike(before, key) for before, key in itertools.pairwise(keys))
    numbers = tuple(itertools.accumulate(map(int, steps), initial=0))
    answer = slice(ordered.skipped, ordered.skipped + len(table.rows))
    groups = numbers[answer]
    sizes, wanted = Counter(numbers), Counter(groups)
    shown = [(number, tuple(row[: table.width])) for number, row in zip(numbers, rows, strict=True)]
    cut = [number for number in wanted if wanted[number] < sizes[number]]
    return Expected(
        table.width,
        tuple(row for number, row in shown[answer] if number not in cut),
        len(groups),
        groups if order_matters and ordered.sorts else None,
        tuple(Tie(tuple(row for own, row in shown if own == number), wanted[number], number) for number in cut),
    )
