"""Spider's classes on small queries and on sql-eval's own golds."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from workbench.errors import EvaluationError
from workbench.evals.hardness import CLASSES, hardness

CLASSIC = Path(__file__).parents[2] / "../shared/data/sql-eval/questions_gen_postgres.csv"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT name FROM author", "easy"),
        ("SELECT COUNT(*) FROM author WHERE aid = 1", "easy"),
        ("SELECT name, aid FROM author", "medium"),
        ("SELECT a.name FROM author AS a JOIN writes AS w ON a.aid = w.aid WHERE w.pid = 3", "medium"),
        ("SELECT name FROM author ORDER BY aid LIMIT 1", "medium"),
        ("SELECT name FROM author WHERE a LIKE 'x%' OR b = 1", "hard"),
        ("SELECT a FROM t WHERE b IN (SELECT b FROM u)", "hard"),
        ("SELECT a FROM t EXCEPT SELECT a FROM u", "hard"),
        ("SELECT a FROM t UNION SELECT a FROM u UNION SELECT a FROM v", "extra"),
        ("SELECT a, COUNT(*) FROM t JOIN u ON t.i = u.i WHERE c = 1 AND d = 2 GROUP BY a ORDER BY 2 LIMIT 3", "extra"),
        ("SELECT a, b FROM t WHERE b > (SELECT AVG(b) FROM t)", "extra"),
    ],
)
def test_classes_of_small_queries(sql, expected):
    assert hardness(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "WITH c AS (SELECT a FROM t) SELECT a FROM c",
        "SELECT a FROM (SELECT a FROM t) AS d",
        "SELECT (SELECT MAX(a) FROM t)",
    ],
)
def test_nesting_that_spider_overlooks_counts_by_default(sql):
    assert hardness(sql, spider=True) == "easy"
    assert hardness(sql) == "hard"


def test_unreadable_sql_is_an_error_of_the_question_set():
    with pytest.raises(EvaluationError, match="cannot class"):
        hardness("SELECT FROM WHERE (")


def first_alternative(gold):
    """sql-eval's first expansion: text before the first ``;``, first column of ``{a, b}``."""
    text = gold.split(";")[0]
    head, brace, tail = text.partition("{")
    if not brace:
        return text
    columns, _, rest = tail.partition("}")
    column = columns.split(",")[0]
    return head + column + rest.replace("GROUP BY {}", f"GROUP BY {column}")


@pytest.mark.parametrize(("spider", "expected"), [(False, (21, 93, 49, 47)), (True, (30, 96, 45, 39))])
def test_distribution_on_the_classic_golds(spider, expected):
    if not CLASSIC.is_file():
        pytest.skip(f"{CLASSIC} is not there")
    with CLASSIC.open(newline="", encoding="utf-8") as handle:
        golds = [row["query"] for row in csv.DictReader(handle)]
    counts = Counter(hardness(first_alternative(gold), spider=spider) for gold in golds)
    assert tuple(counts[name] for name in CLASSES) == expected
