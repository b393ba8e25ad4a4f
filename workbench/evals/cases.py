"""A question that brings its own data: tables, right answers and a candidate go in, a verdict comes out.

Nothing here knows question sets or files. The tables are SQL; equal SQL shares one loaded database, and databases no
longer in use are dropped, so hundreds of different cases need no more room than a few.

    from workbench.evals.cases import Case, judge
    from workbench.evals.postgres import Server

    with Server.embedded() as server:
        case = Case("CREATE TABLE t (a int); INSERT INTO t VALUES (1)", ["SELECT a FROM t"], "```sql\\nSELECT 1\\n```")
        print(judge(case, server))          # Verdict(question_id='1', verdict='correct', exact=True, ...)
        for outcome in judge_all([case] * 300, server):     # the same, two at a time
            ...

A setup or a gold that fails is a fault of the case, never of the candidate: an EvaluationError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from workbench.asked_order import asks_for_order
from workbench.databases import native
from workbench.declining import gold_declines
from workbench.errors import EvaluationError
from workbench.evals.defog import prepare_gold
from workbench.evals.golds import Gold, run_golds
from workbench.evals.postgres import Database, Server
from workbench.evals.sandbox import MOST_ROWS
from workbench.evals.sql_accuracy import TIMEOUT_S, Attempt, Verdict, score_attempt, score_attempts, workers
from workbench.questions import Question

LOADED = 16  # databases at a time
SHARED = 32  # golds that share a connection


@dataclass(frozen=True)
class Case:
    """One candidate with what it is judged by.

    Attributes:
        setup_sql: makes and fills the tables, as a dump may do it; trusted, it runs as their owner.
        golds: right answers, each perhaps with sql-eval's ``;`` alternatives and ``{a, b}`` columns; all of them
            'I do not know' when the tables cannot answer.
        candidate: the model's text, as generated.
        question: in natural language; decides whether order counts where ``order_matters`` does not.
        order_matters: whether row order is part of the answer.
        id: shown in the verdict and in errors.
        category: sql-eval's, of which ``order_by`` changes the verdicts by its rules.
    """

    setup_sql: str
    golds: Sequence[str] | str
    candidate: str
    question: str = ""
    order_matters: bool | None = None
    id: str = "1"
    category: str = ""

    @property
    def ordered(self) -> bool:
        """Whether row order counts."""
        return asks_for_order(self.question)[0] if self.order_matters is None else self.order_matters

    @property
    def accepted(self) -> Sequence[str]:
        """The golds as a list, though it be of one."""
        return [self.golds] if isinstance(self.golds, str) else self.golds

    @property
    def declined(self) -> bool:
        """Whether the right answer is to decline."""
        return bool(self.accepted) and all(map(gold_declines, self.accepted))


def judge(case: Case, server: Server, *, timeout_s: float = TIMEOUT_S, max_rows: int = MOST_ROWS) -> Verdict:
    """The verdict on one candidate.

    Args:
        case: what to judge.
        server: where to run it; keep it open between cases.
        timeout_s: time limit of the candidate.
        max_rows: most rows a gold may return.

    Raises:
        EvaluationError: the setup or a gold fails, or the server is gone.
    """
    if case.declined:
        return score_attempt(Attempt(case.id, case.candidate, None, None))
    with server.loan(f"case {case.id}", native(case.setup_sql)) as database:
        return score_attempt(_run_gold(case, database, max_rows), timeout_s)


def judge_all(
    cases: Sequence[Case], server: Server, *, timeout_s: float = TIMEOUT_S, max_rows: int = MOST_ROWS
) -> Iterator[Verdict | EvaluationError]:
    """Verdicts in the order of the cases, each as soon as those before it are there.

    Where a case is itself at fault its error stands in the verdict's place, and the others go on. Databases are loaded
    a few at a time, their golds are run, then their candidates: so what a candidate does to the server hits no load.

    Raises:
        EvaluationError: the server is gone.
        PrerequisiteError: likewise.
    """
    outcomes: dict[int, Verdict | EvaluationError] = {
        number: score_attempt(Attempt(case.id, case.candidate, None, None))
        for number, case in enumerate(cases)
        if case.declined
    }
    batches = _batches([(number, case) for number, case in enumerate(cases) if not case.declined])
    for number in range(len(cases)):
        while number not in outcomes:
            outcomes |= _judge_batch(next(batches), server, timeout_s, max_rows)
        yield outcomes.pop(number)


_Numbered = list[tuple[int, Case]]


def _batches(cases: _Numbered) -> Iterator[list[_Numbered]]:
    """Groups of one setup each and few enough to share a connection; ``LOADED`` setups at a time."""
    by_setup: dict[str, _Numbered] = {}
    for number, case in cases:
        by_setup.setdefault(case.setup_sql, []).append((number, case))
    groups = list(by_setup.values())
    for start in range(0, len(groups), LOADED):
        yield [
            group[first : first + SHARED]
            for group in groups[start : start + LOADED]
            for first in range(0, len(group), SHARED)
        ]


def _judge_batch(
    batch: list[_Numbered], server: Server, timeout_s: float, max_rows: int
) -> dict[int, Verdict | EvaluationError]:
    with ExitStack() as loans:
        with workers() as pool:
            prepared = list(pool.map(lambda group: _prepare(group, server, loans, max_rows), batch))
        made = {number: result for one in prepared for number, result in one.items()}
        attempts = {number: result for number, result in made.items() if isinstance(result, Attempt)}
        verdicts = score_attempts(list(attempts.values()), timeout_s)
        faults = {number: result for number, result in made.items() if isinstance(result, EvaluationError)}
        return faults | dict(zip(attempts, verdicts, strict=True))


def _prepare(group: _Numbered, server: Server, loans: ExitStack, max_rows: int) -> dict[int, Attempt | EvaluationError]:
    """Load the database and run the golds, all at once if none fails, else one by one to see which."""
    cases = [case for _, case in group]
    try:
        database = loans.enter_context(server.loan(f"case {cases[0].id}", native(cases[0].setup_sql)))
    except EvaluationError as error:
        return {number: error for number, _ in group}
    try:
        golds = run_golds([_question(case, str(number)) for number, case in group], database, max_rows)
        return {number: _attempt(case, golds[str(number)], database) for number, case in group}
    except EvaluationError:
        return {number: _attempt_or_fault(case, database, max_rows) for number, case in group}


def _attempt_or_fault(case: Case, database: Database, max_rows: int) -> Attempt | EvaluationError:
    try:
        return _run_gold(case, database, max_rows)
    except EvaluationError as error:
        return error


def _run_gold(case: Case, database: Database, max_rows: int) -> Attempt:
    return _attempt(case, run_golds([_question(case, case.id)], database, max_rows)[case.id], database)


def _attempt(case: Case, gold: Gold, database: Database) -> Attempt:
    return Attempt(case.id, case.candidate, gold, database, prepare_gold(_question(case, case.id), gold, database))


def _question(case: Case, name: str) -> Question:
    query = "\n;\n".join(case.accepted)  # on lines of their own: a gold may end in a comment
    return Question(name, case.question, query, "", case.category, order_matters=case.ordered)
