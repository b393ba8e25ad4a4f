"""Scoring on the embedded PostgreSQL: 336 golds as candidates, the same golds made wrong, and many small databases.

    python -m pytest benchmarks/test_scoring.py      # candidates per second stand in the JSON's extra_info
    WORKBENCH_SQL_EVAL=/path/to/sql-eval python -m pytest benchmarks/test_scoring.py -m peer

What limits it: a connection per candidate, which Postgres answers by starting a process (``test_connection_alone``),
and as many candidates at a time as there are processors. sql-eval connects for each query too, runs the golds again for
each answer, one answer at a time, and compares frames of pandas; ours has the golds' results from the warm-up on, as it
has them for a second artifact. The verdicts that mean the same must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from benchmarks.pairs import SIDES, Pair, in_turn, replayed, seconds_of, show
from benchmarks.peers import named, started
from workbench.evals.cases import Case, judge_all
from workbench.evals.golds import expand
from workbench.evals.postgres import Server
from workbench.evals.sql_accuracy import Extras, score_predictions
from workbench.request import question_sets

ROUNDS = 5
SETUPS = 100
EACH = 4  # beside sql-eval every fourth question
KINDS = ("golds", "wrong golds")


@pytest.fixture(scope="module")
def server():
    with Server.embedded() as running:
        yield running


def wrong(gold):
    """The gold with its first condition turned round, or something else altogether."""
    return gold.replace("=", "<>", 1) if "=" in gold else "SELECT 1"


def answers_of(asked, kind):
    """One answer per question: right, or wrong in most cases."""
    golds = [expand(question.query)[0] for question in asked.questions]
    return golds if kind == "golds" else [wrong(gold) for gold in golds]


LIMITS = (5 + number / 1000 for number in count())


def score_anew(asked, answers, server, **options):
    """Verdicts as for the first time: those of before are known by answer and time limit, and no limit comes twice."""
    return score_predictions(asked, answers, server, timeout_s=next(LIMITS), **options)


def rate(benchmark, candidates):
    if benchmark.stats:  # not with --benchmark-disable
        benchmark.extra_info["candidates_per_s"] = round(candidates / benchmark.stats["median"])


@pytest.mark.benchmark(group="scoring")
@pytest.mark.parametrize("kind", KINDS)
def test_a_question_set(benchmark, server, kind):
    asked = question_sets()[0]
    answers = answers_of(asked, kind)
    verdicts = benchmark.pedantic(score_anew, (asked, answers, server), rounds=ROUNDS, warmup_rounds=1)
    assert all(verdict.exact for verdict in verdicts) == (kind == "golds")
    rate(benchmark, len(answers))


@pytest.mark.benchmark(group="scoring")
def test_the_same_answers_again(benchmark, server):
    """As another artifact of the build gives them: no query is run."""
    asked = question_sets()[0]
    answers = answers_of(asked, "golds")
    benchmark.pedantic(score_predictions, (asked, answers, server), rounds=ROUNDS, warmup_rounds=1)
    rate(benchmark, len(answers))


@pytest.mark.benchmark(group="scoring")
def test_a_question_set_with_loading(benchmark, request):
    """On a server just started: with the loading of eight databases and the running of all golds."""
    asked = question_sets()[0]
    answers = answers_of(asked, "golds")

    def start():
        fresh = Server.embedded()
        request.addfinalizer(fresh.close)
        return (asked, answers, fresh), {}

    benchmark.pedantic(score_predictions, setup=start, rounds=ROUNDS)
    rate(benchmark, len(answers))


@pytest.mark.benchmark(group="scoring")
def test_cases_with_a_database_each(benchmark, server):
    cases = [
        Case(f"CREATE TABLE t (a int, b text); INSERT INTO t VALUES ({n}, 'x')", ["SELECT a FROM t"], f"SELECT {n}")
        for n in range(SETUPS)
    ]
    verdicts = benchmark.pedantic(lambda: list(judge_all(cases, server)), rounds=ROUNDS)
    assert all(verdict.exact for verdict in verdicts)
    rate(benchmark, SETUPS)


@pytest.mark.benchmark(group="server")
def test_start(benchmark):
    def start():
        Server.embedded().close()

    benchmark.pedantic(start, rounds=ROUNDS)


@pytest.mark.benchmark(group="server")
def test_connection_alone(benchmark, server):
    """What each candidate waits for before its query begins."""
    database = server.keep("empty", "CREATE TABLE t (a int)")
    benchmark.pedantic(lambda: database.run("SELECT 1", timeout_s=5, max_rows=2), rounds=50, warmup_rounds=1)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, server: Server, rounds: int) -> Iterator[Pair]:
    checkout = named("WORKBENCH_SQL_EVAL", "a checkout of defog-ai/sql-eval")
    whole = question_sets()[0]
    asked = replace(whole, questions=whole.questions[::EACH])
    answers = answers_of(asked, request.param)
    verdicts: list[Any] = []

    def ours() -> None:
        verdicts[:] = score_anew(asked, answers, server, extras=Extras(broadcasting=True))

    with started("sql_eval", checkout=checkout, **cases_of(asked, answers, server)) as peer:
        ours_s, peer_s = in_turn(seconds_of(ours), peer.round, rounds)
        name, theirs = peer.name, peer.facts["verdicts"]
    assert [[verdict.defog_exact, verdict.defog_correct] for verdict in verdicts] == theirs
    yield Pair(name, ours_s, peer_s, {"candidates": len(answers)})


def cases_of(asked: Any, answers: list[str], server: Server) -> dict[str, Any]:
    """What the peer's script takes: the server's socket and user, and each question with its answer."""
    from psycopg.conninfo import conninfo_to_dict

    def case(question: Any, sql: str) -> dict[str, str]:
        conninfo = conninfo_to_dict(server.database(asked, question.db_name).conninfo)
        named_so = {"gold": question.query, "question": question.question, "category": question.query_category}
        return {**named_so, "sql": sql, "database": str(conninfo["dbname"])}

    superuser = conninfo_to_dict(server.conninfo)
    cases = [case(question, sql) for question, sql in zip(asked.questions, answers, strict=True)]
    return {"host": superuser["host"], "user": superuser["user"], "cases": cases}


@pytest.mark.peer
@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("side", SIDES)
def test_beside_sql_eval(benchmark: Any, pair: Pair, side: str, request: pytest.FixtureRequest) -> None:
    benchmark.group = f"score {pair.info['candidates']} {request.node.callspec.params['pair']} beside sql-eval"
    show(benchmark, pair, side)
