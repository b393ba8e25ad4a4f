"""Scoring on the embedded PostgreSQL: 336 golds as candidates, the same golds made wrong, and many small databases.

python -m pytest benchmarks/test_scoring.py      # candidates per second stand in each row's extra column
"""

import pytest

from workbench.evals.cases import Case, judge_all
from workbench.evals.golds import expand
from workbench.evals.postgres import Server
from workbench.evals.sql_accuracy import score_predictions
from workbench.request import question_sets

ROUNDS = 5
SETUPS = 100


@pytest.fixture(scope="module")
def server():
    with Server.embedded() as running:
        yield running


def wrong(gold):
    """The gold with its first condition turned round, or something else altogether."""
    return gold.replace("=", "<>", 1) if "=" in gold else "SELECT 1"


def rate(benchmark, count):
    benchmark.extra_info["candidates_per_s"] = round(count / benchmark.stats["median"])
    print(f"\n{count} candidates in {benchmark.stats['median']:.2f} s, {count / benchmark.stats['median']:.0f}/s")


@pytest.mark.benchmark(group="scoring")
@pytest.mark.parametrize("kind", ["golds", "wrong golds"])
def test_a_question_set(benchmark, server, kind):
    asked = question_sets()[0]
    golds = [expand(question.query)[0] for question in asked.questions]
    answers = golds if kind == "golds" else [wrong(gold) for gold in golds]
    verdicts = benchmark.pedantic(score_predictions, (asked, answers, server), rounds=ROUNDS, warmup_rounds=1)
    assert all(verdict.exact for verdict in verdicts) == (kind == "golds")
    rate(benchmark, len(answers))


@pytest.mark.benchmark(group="scoring")
def test_a_question_set_with_loading(benchmark, request):
    """On a server just started: with the loading of eight databases and the running of all golds."""
    asked = question_sets()[0]
    answers = [expand(question.query)[0] for question in asked.questions]

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
