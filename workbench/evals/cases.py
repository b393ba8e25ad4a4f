"""A question that brings its own data: tables, right answers and a candidate go in, a verdict comes out.

Nothing here knows question sets or files. The tables are SQL; equal SQL shares one loaded database, and databases no
longer in use are dropped, so hundreds of different cases need no more room than a few.

    from workbench.evals.cases import Case, judge
    from workbench.evals.postgres import Server

    with Server.embedded() as server:
        case = Case("CREATE TABLE t (a int); INSERT INTO t VALUES (1)", ["SELECT a FROM t"], "```sql\\nSELECT 1\\n```")
        print(judge(case, server))          # Verdict(question_id='1', verdict='correct', exact=True, ...)

A setup or a gold that fails is a fault of the case, never of the candidate: an EvaluationError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.asked_order import asks_for_order
from workbench.declining import gold_declines
from workbench.evals.golds import Gold, run_golds
from workbench.evals.postgres import Database, Server
from workbench.evals.sql_accuracy import MAX_ROWS, TIMEOUT_S, Attempt, Verdict, score_attempt
from workbench.questions import Question


@dataclass(frozen=True)
class Case:
    """One candidate with what it is judged by.

    Attributes:
        setup_sql: makes and fills the tables; trusted, it runs as their owner.
        golds: right answers, each perhaps with sql-eval's ``;`` alternatives and ``{a, b}`` columns; all of them
            'I do not know' when the tables cannot answer.
        candidate: the model's text, as generated.
        question: in natural language; decides whether order counts where ``order_matters`` does not.
        order_matters: whether row order is part of the answer.
        id: shown in the verdict and in errors.
    """

    setup_sql: str
    golds: Sequence[str]
    candidate: str
    question: str = ""
    order_matters: bool | None = None
    id: str = "1"

    @property
    def ordered(self) -> bool:
        """Whether row order counts."""
        return asks_for_order(self.question)[0] if self.order_matters is None else self.order_matters


def judge(case: Case, server: Server, *, timeout_s: float = TIMEOUT_S, max_rows: int = MAX_ROWS) -> Verdict:
    """The verdict on one candidate.

    Args:
        case: what to judge.
        server: where to run it; keep it open between cases.
        timeout_s: time limit of the candidate.
        max_rows: most rows a gold may return.

    Raises:
        EvaluationError: the setup or a gold fails, or the server is gone.
    """
    if case.golds and all(map(gold_declines, case.golds)):
        return score_attempt(Attempt(case.id, case.candidate, None, None))
    with server.loan(case.id, case.setup_sql) as database:
        return score_attempt(Attempt(case.id, case.candidate, run_gold(case, database, max_rows), database), timeout_s)


def run_gold(case: Case, database: Database, max_rows: int = MAX_ROWS) -> Gold:
    """What right answers to a case return.

    Raises:
        EvaluationError: a gold fails or returns more than ``max_rows`` rows.
    """
    query = "\n;\n".join(case.golds)  # on lines of their own: a gold may end in a comment
    question = Question(case.id, case.question, query, "", "", order_matters=case.ordered)
    return run_golds([question], database, max_rows)[case.id]
