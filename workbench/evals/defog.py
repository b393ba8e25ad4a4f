"""The score that defog's published figures mean: sql-eval's own verdicts, its faults included.

sql-eval (github.com/defog-ai/sql-eval, ``eval/eval.py``) gives each answer ``exact_match`` and ``correct``, the
headline; ``workbench.evals.defog_frames`` tells how it compares. Its golds are tried in turn until one is matched
exactly. What raises there is counted as wrong here too: two columns of one name, arrays and json that do not sort or
hash, a ``%`` outside LIKE (of which the driver wants a parameter), a gold that its own expansion breaks.

From August 2023 on sql-eval compared values only between frames of one shape. In May 2024 that check was lost: since
then numpy broadcasts: where the widths are equal, or one is 1, an EMPTY result equals every gold of one row, and any
one row equals an empty gold. ``broadcasting=True`` repeats this fault, to explain figures published since; it is off
by default. All else is as at the head of sql-eval; before May 2024 it compared NULLs and sorted where an order is
asked for in other ways.

    gold = prepare_gold(question, run_golds([question], database, 1000)[question.id], database)
    match_defog(gold, database.run(sql, timeout_s=5, max_rows=1000), sql)       # DefogMatch(exact=False, correct=True)

Not repeated, because the candidate runs in this project's sandbox and its SQL is cut out as for the strict score:

* what only a superuser or a writer may do: DELETE, DROP, COPY TO PROGRAM are errors here, and may be correct there;
* several statements in one answer: there the last result counts, here the first statement is run;
* time (10 s there) and size (none there; over 100,000 rows or 64 MiB are wrong here);
* one slow query ends the whole run there;
* ``%%`` outside LIKE, which the driver reads as ``%``;
* values: dates that Python cannot hold are text here; bytea, uuid, inet and records are as psycopg 3 loads them, where
  psycopg2 has memoryviews and text; times with a zone are in UTC.
"""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.evals.defog_frames import CRASHES, Asked, Result, contained, equal
from workbench.evals.golds import Gold, expand
from workbench.evals.sandbox import MOST_ROWS, QueryFailed, Table

if TYPE_CHECKING:
    from workbench.evals.postgres import Database
    from workbench.questions import Question

TIMEOUT_S = 10.0  # sql-eval's own, here of the golds
_FROM_LIKE = re.compile(r"LIKE[\s\S]*'", re.IGNORECASE)


@dataclass(frozen=True)
class DefogMatch:
    """sql-eval's two verdicts on one answer: ``exact_match`` and ``correct``."""

    exact: bool
    correct: bool


WRONG = DefogMatch(False, False)


@dataclass(frozen=True)
class DefogGold:
    """A question as sql-eval judges answers to it.

    Attributes:
        asked: what it looks at besides the results.
        results: of each expanded gold; ``None`` for one that sql-eval cannot run.
        broadcasting: whether to repeat the fault of May 2024.
    """

    asked: Asked
    results: tuple[Result | None, ...]
    broadcasting: bool = False

    def may_equal_more_rows(self, width: int) -> bool:
        """Whether a candidate of this many columns and more rows than any gold has may still be right.

        Duplicate rows are dropped before frames of equal width are compared.
        """
        return self.broadcasting or any(result and result.table.width == width for result in self.results)


def expand_as_defog(gold: str) -> list[str]:
    """All queries a gold text stands for, cut as sql-eval cuts it.

    It knows neither quotes nor parentheses: a ``;`` or a brace in a literal, or a comma in a function among
    ``{columns}``, makes queries that fail.
    """
    return [query for part in gold.split(";") if part.strip() for query in _expand_columns(part.strip())]


def _expand_columns(sql: str) -> list[str]:
    start = sql.find("{")
    end = sql.find("}", start + 1)
    if start < 0 or end < 0:
        return [sql]
    options, rest = sql[start + 1 : end].split(","), sql[end + 1 :]
    subsets = (subset for size in range(1, len(options) + 1) for subset in itertools.combinations(options, size))
    filled = not rest.startswith("GROUP BY {}")  # sql-eval takes "found at 0" for "not found"
    return [
        sql[:start] + chosen + (rest.replace("GROUP BY {}", f"GROUP BY {chosen}") if filled else rest)
        for chosen in map(", ".join, subsets)
    ]


def wants_parameters(sql: str) -> bool:
    """Whether the driver fails on a ``%``: sql-eval doubles only those between the first LIKE and the last quote."""
    escaped = _FROM_LIKE.sub(lambda found: found[0].replace("%", "%%"), sql)
    return "%" in escaped.replace("%%", "")


def prepare_gold(question: Question, gold: Gold, database: Database, broadcasting: bool = False) -> DefogGold:
    """What sql-eval compares candidates with; kept with the database.

    Args:
        question: whose gold text is expanded by sql-eval's rules.
        gold: its golds by this project's rules, run; they are used where both rules give the same queries.
        database: where to run the others.
        broadcasting: repeat the fault of May 2024, see above.

    Raises:
        EvaluationError: the server is gone.
    """
    asked = Asked(question.question, question.query_category, question.query)
    key = ("defog", asked)
    if key not in database.cache:
        queries = expand_as_defog(question.query)
        same = [sql.split() for sql in queries] == [sql.split() for sql in expand(question.query)]
        tables = gold.tables if same else [_run(sql, database) for sql in queries]
        database.cache[key] = tuple(
            None if table is None or wants_parameters(sql) else Result(table)
            for sql, table in zip(queries, tables, strict=True)
        )
    return DefogGold(asked, database.cache[key], broadcasting)


def _run(sql: str, database: Database) -> Table | None:
    try:
        table = database.run(sql, timeout_s=TIMEOUT_S, max_rows=MOST_ROWS)
    except QueryFailed:
        return None
    return None if table.truncated else table


def match_defog(gold: DefogGold, candidate: Table, candidate_sql: str) -> DefogMatch:
    """sql-eval's verdicts on a candidate that ran.

    Args:
        gold: what to compare with.
        candidate: its whole result.
        candidate_sql: the query, whose ORDER BY sql-eval looks at.
    """
    if candidate.truncated or wants_parameters(candidate_sql):
        return WRONG
    warnings.filterwarnings("ignore", module=r"workbench\.evals\.defog")  # pandas', of what sql-eval makes it do
    correct = False
    try:
        answer = Result(candidate)
        for result in gold.results:
            if result is None:
                return WRONG
            if equal(result, answer, gold.asked, candidate_sql, broadcasting=gold.broadcasting):
                return DefogMatch(True, True)
            correct |= contained(result, answer, gold.asked)
    except CRASHES:
        return WRONG
    return DefogMatch(False, correct)
