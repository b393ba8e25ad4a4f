"""Which questions ask for an order: the rule, the audit of public questions, and the bundled sets' own column."""

import csv
import json
from pathlib import Path

import pytest
import sqlglot

from workbench import asked_order
from workbench.asked_order import AUDIT, asks_for_order, digest
from workbench.nano import DATA_DIR
from workbench.questions import load_question_set

DATA = Path(__file__).parents[1] / "../shared/data/sql-eval"


@pytest.mark.parametrize(
    "question",
    [
        "List all products sorted by price.",
        "Show the cities in descending order of population",
        "Which users signed up? Order the results by date.",
        "What is the revenue per shop, ordered from highest to lowest?",
        "Revenue per month. Order by month ascending.",
        "List the employees alphabetically.",
        "Show all invoices, the oldest first.",
        "Give the duration of each user, longest total duration first.",
        "Return the sales per month, starting from the earliest date.",
        "Return the events in chronological order",
        "Give the shops ranked by revenue",
        "Rank the shops by revenue.",
        "names from Z to A",
    ],
)
def test_the_rule_sees_what_asks_for_an_order(question):
    assert asks_for_order(question) == (True, "rule")


@pytest.mark.parametrize(
    "question",
    [
        "What are the top 5 shops by revenue?",
        "Which customer has the most orders?",
        "How many products were ordered by customers in 2023?",
        "What is the average order by region?",
        "In order to compare years, give the revenue by year.",
        "How many orders were placed from the lowest tier?",
        "Return each shop's rank by revenue.",
        "Rank the loans by fine with the lowest as rank 1, showing the id and the rank.",
        "Which names start with the letter J?",
        "How did the price change from the highest month to May?",
        "Flights from a city to the nearest airport?",
        "Who was the first to buy?",
        "What sort of products sell best?",
    ],
)
def test_the_rule_leaves_the_others_alone(question):
    assert asks_for_order(question) == (False, "rule")


def test_words_count_not_their_case_and_punctuation():
    assert digest("How many,  Zürich?\n") == digest("how MANY zürich")
    assert digest("How many") != digest("How much")


def test_the_audit_holds_digests_and_no_text():
    record = json.loads(AUDIT.read_text(encoding="utf-8"))
    assert not set(record["asks"]) & set(record["does_not_ask"])
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in record["asks"] + record["does_not_ask"])


def top_level(sql: str) -> tuple[bool, bool]:
    tree = sqlglot.parse_one(sql, dialect="postgres")
    return bool(tree.args.get("order")), bool(tree.args.get("limit"))


@pytest.mark.parametrize(("name", "asking"), [("questions_gen_postgres", 33), ("instruct_basic_postgres", 3)])
def test_public_questions_are_audited_and_the_rule_agrees(name, asking):
    path = DATA / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    asked = load_question_set(path).questions
    assert {question.order_from for question in asked} == {"audit"}
    assert sum(question.order_matters for question in asked) == asking
    assert [q.question for q in asked if asked_order._rule(q.question) != q.order_matters] == []


def test_of_the_classic_golds_that_sort_without_a_limit_two_in_five_belong_to_a_question_that_asks():
    path = DATA / "questions_gen_postgres.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    from workbench.evals.golds import expand

    asked = load_question_set(path).questions
    sorting = [question for question in asked if top_level(expand(question.query)[0]) == (True, False)]
    assert (len(sorting), sum(question.order_matters for question in sorting)) == (80, 32)


@pytest.mark.parametrize("path", sorted(DATA_DIR.glob("*.csv")), ids=lambda path: path.stem)
def test_the_bundled_sets_flag_what_asks_and_only_that(path):
    """The column comes from the generator, the rule from reading: neither knows the other."""
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    flagged = {row["question"] for row in rows if row["order_matters"] == "true"}
    assert {row["question"] for row in rows if asked_order._rule(row["question"])} == flagged
    assert all(top_level(row["query"])[0] for row in rows if row["question"] in flagged)
    assert {question.order_from for question in load_question_set(path).questions} == {"file"}
