"""Score a model's answers by running them: right is what returns the gold's answer.

Per question: cut the SQL out of the answer, see that it is a query, run it in the sandbox on a
connection of its own, and compare its result with every answer the gold accepts. Golds run once per loaded
database and are kept with it; so are verdicts, unless a slow machine may have a part in one. A second artifact
scored on the same server costs only the answers that no other gave.

    with Server.embedded() as server:
        verdicts = score_predictions(question_set, answers, server)
    scores = summarize(question_set, verdicts)          # workbench.evals.statistics

Verdicts: ``correct``, ``incorrect``, ``error`` (the query fails or exceeds a limit), ``rejected`` (it is
no query). A gold that fails is an EvaluationError. A question that the database cannot answer has no gold to run:
there ``correct`` is an answer that declines (``workbench.evals.refusals``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from workbench.errors import EvaluationError
from workbench.evals import defog
from workbench.evals.comparison import Comparison, compare
from workbench.evals.extraction import extract_sql
from workbench.evals.golds import Gold, run_golds
from workbench.evals.parse_gate import gate
from workbench.evals.postgres import Database, Server
from workbench.evals.refusals import is_refusal
from workbench.evals.sandbox import MOST_ROWS, QueryFailed, Table
from workbench.evals.second_copy import Weak, confirm
from workbench.processors import available_processors
from workbench.questions import Question, QuestionSet

TIMEOUT_S = 5.0  # per candidate
WORKERS = max(2, min(4, available_processors()))  # more than there are processors would eat into one another's limits
CLOSED = (
    "the server closed the connection"  # begins the reason of a query whose backend crashes, or another's beside it
)

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
        weak: why luck could match the gold (``empty``, ``all NULL``, ``single cell``), or empty.
        seconds: how long the query ran, with its connection; of an equal answer's run, where there was one before.
        chance_hit: whether what is right on a weak gold fails on other rows (``workbench.evals.second_copy``), which
            makes it incorrect; ``None`` where it was not tried, or no rows tell.
        defog_correct: correct by sql-eval's own rules; ``None`` unless scored so.
        defog_exact: sql-eval's ``exact_match``; ``None`` unless scored so.
        answerable: whether the database can answer the question; where not, it counts among the refusals only.
    """

    question_id: str
    verdict: VerdictName
    exact: bool
    reason: str
    sql: str
    weak: str = ""
    seconds: float = field(default=0.0, compare=False)
    chance_hit: bool | None = None
    defog_correct: bool | None = None
    defog_exact: bool | None = None
    answerable: bool = True


@dataclass(frozen=True)
class Attempt:
    """One answer with all that is needed to judge it.

    Attributes:
        question_id: shown in the verdict.
        answer: the model's text.
        gold: what right answers return on ``database``; ``None`` when the right answer is to decline.
        database: where to run it.
        defog: what sql-eval compares it with, to have its verdicts too.
        asked: equal for two attempts on one database if nothing but their answers can make their verdicts differ, which
            are then shared; ``None`` where there will be no other.
    """

    question_id: str
    answer: str
    gold: Gold | None
    database: Database | None
    defog: defog.DefogGold | None = None
    asked: Hashable = None


@dataclass(frozen=True)
class Extras:
    """What is found out besides the verdicts on the given rows.

    Attributes:
        second_copy: whether a right answer to a weak gold is right on other rows too; a verdict may become incorrect.
        broadcasting: let ``defog_correct`` repeat a fault of sql-eval since May 2024; see ``workbench.evals.defog``.
    """

    second_copy: bool = True
    broadcasting: bool = False


def score_predictions(
    question_set: QuestionSet,
    answers: list[str],
    server: Server,
    *,
    timeout_s: float = TIMEOUT_S,
    extras: Extras | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """Score one answer per question.

    Args:
        question_set: questions and their databases.
        answers: the model's texts, in the order of the questions.
        server: where to run them; keep it open between artifacts.
        timeout_s: time limit of each candidate.
        extras: what is found out besides; default all of it.
        progress: called with (answers done, answers in all) after each.

    Returns:
        One verdict per question, in order.

    Raises:
        EvaluationError: a database does not load, a gold fails, or the server is gone.
    """
    questions, wanted = question_set.questions, extras or Extras()
    if len(answers) != len(questions):
        raise EvaluationError(f"{len(answers)} answers for {len(questions)} questions; give one answer each")
    databases, golds = _golds(question_set.answerable(), server, MOST_ROWS)

    def attempt(question: Question, answer: str) -> Attempt:
        if question.id not in golds:
            return Attempt(question.id, answer, None, None)
        gold, database = golds[question.id], databases[question.db_name]
        rules = defog.prepare_gold(question, gold, database, wanted.broadcasting)
        return Attempt(question.id, answer, gold, database, rules, (replace(question, id=""), wanted.broadcasting))

    attempts = [attempt(question, answer) for question, answer in zip(questions, answers, strict=True)]
    verdicts = score_attempts(attempts, timeout_s, progress)
    return confirm(Weak(question_set, golds, server), verdicts, timeout_s) if wanted.second_copy else verdicts


def score_attempts(
    attempts: Sequence[Attempt], timeout_s: float = TIMEOUT_S, progress: Callable[[int, int], None] | None = None
) -> list[Verdict]:
    """Verdicts in the order of the attempts, of which a few run at a time.

    Raises:
        EvaluationError: the server is gone.
    """
    verdicts: list[Verdict] = []
    with workers() as pool:
        for verdict in pool.map(lambda attempt: score_attempt(attempt, timeout_s), attempts):
            verdicts.append(verdict)
            if progress:
                progress(len(verdicts), len(attempts))
    # A crash of one connection ends them all; whoever was hit gets another chance while nothing else runs.
    return [
        score_attempt(attempt, timeout_s) if verdict.reason.startswith(CLOSED) else verdict
        for attempt, verdict in zip(attempts, verdicts, strict=True)
    ]


def _golds(question_set: QuestionSet, server: Server, max_rows: int) -> tuple[dict[str, Database], dict[str, Gold]]:
    """The databases by name, loaded, and the golds by question id, in the questions' order."""
    names = question_set.db_names()
    with workers() as pool:
        databases = dict(zip(names, pool.map(lambda name: server.database(question_set, name), names), strict=True))

    def run(name: str) -> dict[str, Gold]:
        questions = [question for question in question_set.questions if question.db_name == name]
        return run_golds(questions, databases[name], max_rows)

    with workers() as pool:
        found = {key: gold for golds in pool.map(run, databases) for key, gold in golds.items()}
    return databases, {question.id: found[question.id] for question in question_set.questions}


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """A pool that on an error drops the work not begun, instead of finishing it first."""
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="sql-accuracy")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def score_attempt(attempt: Attempt, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Extract, gate, run, compare; or where there is no gold, see whether the answer declines.

    An answer that was judged before on this database, in an attempt at the same, is not run again.

    Raises:
        EvaluationError: the server is gone.
    """
    if attempt.gold is None or attempt.database is None:
        return _judge_refusal(attempt)
    key = ("verdict", attempt.asked, attempt.answer, timeout_s)
    known: Verdict | None = attempt.database.cache.get(key)
    if known:
        return replace(known, question_id=attempt.question_id)
    verdict, lasting = _judge(attempt, _Candidate(extract_sql(attempt.answer), attempt.database, timeout_s))
    if attempt.asked is not None and lasting:
        attempt.database.cache[key] = verdict
    return verdict


@dataclass
class _Candidate:
    """A query on its way to a verdict; ``lasting`` until a failure that may not come again."""

    sql: str
    database: Database
    timeout_s: float
    lasting: bool = True

    def run(self, max_rows: int) -> Table:
        try:
            return self.database.run(self.sql, timeout_s=self.timeout_s, max_rows=max_rows)
        except QueryFailed as error:
            self.lasting = not error.passing
            raise


def _judge(attempt: Attempt, candidate: _Candidate) -> tuple[Verdict, bool]:
    """The verdict by both rules, and whether another run would come to the same."""
    assert attempt.gold is not None  # else nothing is run
    verdict, table = _run_and_compare(attempt, attempt.gold, candidate)
    if attempt.defog:
        match = _match_defog(attempt.defog, table, candidate)
        verdict = replace(verdict, defog_correct=match.correct, defog_exact=match.exact)
    if verdict.verdict != "correct" and is_refusal(attempt.answer):
        name: VerdictName = "incorrect" if verdict.verdict == "incorrect" else "rejected"
        verdict = replace(verdict, verdict=name, reason="declines to answer")
    return verdict, candidate.lasting


def _judge_refusal(attempt: Attempt) -> Verdict:
    """Of a question that cannot be answered: declining is right, whatever else is not."""
    sql = extract_sql(attempt.answer)
    if is_refusal(attempt.answer):
        return Verdict(attempt.question_id, "correct", False, "declines", sql, answerable=False)
    reason = "neither declines nor answers" if not sql or gate(sql) else "invents SQL"
    return Verdict(attempt.question_id, "incorrect", False, reason, sql, answerable=False)


def _run_and_compare(attempt: Attempt, gold: Gold, candidate: _Candidate) -> tuple[Verdict, Table | None]:
    """The verdict, and what the query returned."""
    sql = candidate.sql
    started = time.perf_counter()
    table: Table | None = None

    def verdict(name: VerdictName, reason: str, exact: bool = False) -> tuple[Verdict, Table | None]:
        seconds = time.perf_counter() - started
        return Verdict(attempt.question_id, name, exact, reason, sql, gold.weak, seconds), table

    if reason := gate(sql) if sql else "no SQL in the answer":
        return verdict("rejected", reason)
    longest = max(expected.count for expected in gold.answers)
    started = time.perf_counter()
    try:
        table = candidate.run(longest + 1)
    except QueryFailed as error:
        return verdict("error", str(error))
    if table.truncated:
        return verdict("incorrect", f"over {longest} rows, the gold has {longest}")
    best = max((compare(expected, table.rows, table.width) for expected in gold.answers), key=_rank)
    return verdict("correct" if best.correct else "incorrect", best.reason, best.exact)


def _match_defog(gold: defog.DefogGold, table: Table | None, candidate: _Candidate) -> defog.DefogMatch:
    """sql-eval's verdicts, for which a result longer than the gold may have to be read to its end."""
    if table and table.truncated and gold.may_equal_more_rows(table.width):
        try:
            table = candidate.run(MOST_ROWS)  # duplicates are dropped, so a long result may equal a short gold
        except QueryFailed:
            table = None
    return defog.match_defog(gold, table, candidate.sql) if table else defog.WRONG


def _rank(comparison: Comparison) -> tuple[bool, bool]:
    return comparison.correct, comparison.exact
