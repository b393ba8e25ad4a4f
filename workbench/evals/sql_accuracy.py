"""Score a model's answers by running them: right is what returns the gold's answer.

Per question: cut the SQL out of the answer, see that it is a query, run it in the sandbox on a
connection of its own, and compare its result with every answer the gold accepts. Golds run once per loaded
database and are kept with it, so a second artifact scored on the same server costs only its own queries.

    with Server.embedded() as server:
        verdicts = score_predictions(question_set, answers, server)
    scores = summarize(question_set, verdicts)          # workbench.evals.statistics

Verdicts: ``correct``, ``incorrect``, ``error`` (the query fails or exceeds a limit), ``rejected`` (it is
no query). A gold that fails is an EvaluationError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from workbench.errors import EvaluationError
from workbench.evals.comparison import Comparison, compare
from workbench.evals.extraction import extract_sql
from workbench.evals.golds import Gold, run_golds
from workbench.evals.parse_gate import gate
from workbench.evals.postgres import Database, Server
from workbench.evals.sandbox import QueryFailed
from workbench.questions import Question, QuestionSet

TIMEOUT_S = 5.0  # per candidate
MAX_ROWS = 100_000  # per gold; a candidate is read to one row past its longest gold
WORKERS = 2

VerdictName = Literal["correct", "incorrect", "error", "rejected"]


@dataclass(frozen=True)
class Verdict:
    """What became of one answer.

    Attributes:
        question_id: of ``Question.id``.
        verdict: ``correct``, ``incorrect``, ``error`` or ``rejected``.
        exact: correct, and its columns are the gold's in the same order with none besides.
        reason: why, in a few words; empty for an exact answer.
        sql: the statement that was scored.
    """

    question_id: str
    verdict: VerdictName
    exact: bool
    reason: str
    sql: str


def score_predictions(
    question_set: QuestionSet,
    answers: list[str],
    server: Server,
    *,
    timeout_s: float = TIMEOUT_S,
    max_rows: int = MAX_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """Score one answer per question.

    Args:
        question_set: questions and their databases.
        answers: the model's texts, in the order of the questions.
        server: where to run them; keep it open between artifacts.
        timeout_s: time limit of each candidate.
        max_rows: most rows a gold may return.
        progress: called with (answers done, answers in all) after each.

    Returns:
        One verdict per question, in order.

    Raises:
        EvaluationError: a database does not load, a gold fails, or the server is gone.
    """
    questions = question_set.questions
    if len(answers) != len(questions):
        raise EvaluationError(f"{len(answers)} answers for {len(questions)} questions; give one answer each")
    databases = {name: server.database(question_set, name) for name in question_set.db_names()}
    golds = _golds(question_set, databases, max_rows)

    def score(question: Question, answer: str) -> Verdict:
        return _score(question, answer, golds[question.id], databases[question.db_name], timeout_s)

    verdicts: list[Verdict] = []
    with _workers() as pool:
        for verdict in pool.map(score, questions, answers):
            verdicts.append(verdict)
            if progress:
                progress(len(verdicts), len(questions))
    return verdicts


def weak_golds(question_set: QuestionSet, server: Server, *, max_rows: int = MAX_ROWS) -> dict[str, str]:
    """Questions whose gold is empty, all NULL or a single cell, with which of the three: luck could match them."""
    databases = {name: server.database(question_set, name) for name in question_set.db_names()}
    golds = _golds(question_set, databases, max_rows)
    return {question.id: golds[question.id].weak for question in question_set.questions if golds[question.id].weak}


def _golds(question_set: QuestionSet, databases: dict[str, Database], max_rows: int) -> dict[str, Gold]:
    def run(name: str) -> dict[str, Gold]:
        questions = [question for question in question_set.questions if question.db_name == name]
        return run_golds(questions, databases[name], max_rows)

    with _workers() as pool:
        return {key: gold for golds in pool.map(run, databases) for key, gold in golds.items()}


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """A pool that on an error drops the work not begun, instead of finishing it first."""
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="sql-accuracy")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _score(question: Question, answer: str, gold: Gold, database: Database, timeout_s: float) -> Verdict:
    sql = extract_sql(answer)
    if not sql:
        return Verdict(question.id, "rejected", False, "no SQL in the answer", sql)
    if reason := gate(sql):
        return Verdict(question.id, "rejected", False, reason, sql)
    longest = max(expected.count for expected in gold.answers)
    try:
        table = database.run(sql, timeout_s=timeout_s, max_rows=longest + 1)
    except QueryFailed as error:
        return Verdict(question.id, "error", False, str(error), sql)
    if table.truncated:
        return Verdict(question.id, "incorrect", False, f"over {longest} rows, the gold has {longest}", sql)
    best = max((compare(expected, table.rows, table.width) for expected in gold.answers), key=_rank)
    return Verdict(question.id, "correct" if best.correct else "incorrect", best.exact, best.reason, sql)


def _rank(comparison: Comparison) -> tuple[bool, bool]:
    return comparison.correct, comparison.exact
