"""Declining in all its forms, and what only looks like it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.declining import gold_declines
from workbench.evals.refusals import is_refusal
from workbench.evals.sql_accuracy import score_predictions
from workbench.evals.statistics import flips, summarize
from workbench.questions import Question, QuestionSet

# The wordings that sql-eval's questions of this kind ask for.
APOLOGIES = [
    "Alas, without the necessary data, I can't provide an answer.",
    "Answering that is beyond my capacity without the required data.",
    "Apologies, I lack the necessary data to provide an answer.",
    "I apologize, but I'm not equipped with the data to answer that question.",
    "I must apologize, as I do not possess the needed data to answer this.",
    "I must express my regret for not having the data to answer that.",
    "I regret to inform you that I don't have the data needed to answer.",
    "I'm afraid I cannot answer that due to a lack of necessary data.",
    "I'm sorry, but I don't possess the information needed to answer that question.",
    "I'm sorry, but answering that is not feasible without the appropriate data.",
    "I'm sorry, but the data needed to respond to this is unavailable to me.",
    "I'm unable to provide an answer as I lack the required information.",
    "It's unfortunate, but I don't have the information required to answer.",
    "My apologies, but answering that is not possible without the relevant data.",
    "My inability to answer stems from a lack of the necessary data.",
    "Regretfully, I don't hold the data needed to provide a response.",
    "Regrettably, I'm without the required data to respond to that.",
    "Regrettably, the data required to respond is not within my reach.",
    "Sorry, I do not have the data to answer that.",
    "Sorry, the necessary data to respond to your query is not available to me.",
    "Unfortunately, I am unable to answer due to insufficient data.",
]
TEXTS = [
    *APOLOGIES,
    "I do not know",
    "I don\u2019t know.",
    "unknown",
    "N/A",
    "This cannot be answered with the given schema.",
]


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("text", TEXTS)
def test_a_refusal_in_prose_in_sql_and_in_a_fence(text):
    query = f"SELECT {literal(text)} AS answer"
    answers = [
        text,
        f"{text}\n```",
        f"'{text}'",
        f"-- {text}",
        query,
        f"{query};\n```",
        f"```sql\n{query};\n```",
        f"[SQL] {query}",
    ]
    assert [answer for answer in answers if not is_refusal(answer)] == []
    assert gold_declines(f"{query};")


@pytest.mark.parametrize(
    "answer",
    [
        "I do not know\n```\n\n### Task\nGenerate a SQL query",
        "I do not know which column to select from the schema.",
        "With the given schema I cannot answer this.",
        "SELECT 'I'm sorry, but I don't have the data to answer that.' AS answer;",
        "SELECT 'I do not know'::text AS answer LIMIT 1",
        "I don't have access to the weather.",
        "The question is unrelated to this database.",
        "I am not sure; the schema does not include the weather.",
        "That is outside the scope of the provided tables.",
        "The table of weather is missing from the schema, so no query can answer this.",
    ],
)
def test_more_refusals(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Paris",
        "SELECT 'Paris' AS answer",
        "SELECT name FROM author",
        "SELECT 'I do not know' FROM author",
        "SELECT 'I do not know', name FROM author",
        "SELECT name FROM author WHERE name = 'I do not know'",
        "SELECT CASE WHEN COUNT(*) = 0 THEN 'I do not know' ELSE MAX(name) END FROM author",
        "SELECT COALESCE((SELECT name FROM author LIMIT 1), 'I do not know')",
        "SELECT 'I do not know' WHERE EXISTS (SELECT 1 FROM author)",
        "SELECT 'I do not know' UNION SELECT name FROM author",
        "WITH x AS (SELECT name FROM author) SELECT 'I do not know', x.name FROM x",
        "SELECT 'I do not know', pg_read_file('/etc/passwd')",
        "SELECT name -- I do not know\nFROM author",
        "I do not know for sure, but try:\n```sql\nSELECT name FROM author\n```",
        "I do not know, perhaps: SELECT name FROM author",
        "I cannot answer exactly.\nSELECT name FROM author",
        "DROP TABLE author; -- sorry, no data",
        "DELETE FROM author -- sorry, no data\n WHERE true",
        "/* sorry, no data */ UPDATE author SET name = 'unknown (no data)'",
    ],
)
def test_what_only_looks_like_a_refusal(answer):
    assert not is_refusal(answer)


@pytest.mark.parametrize(
    ("gold", "declines"),
    [
        ("I do not know", True),
        ("select 'I do not know'", True),
        ("SELECT 'open'", False),
        ("SELECT 'I do not know' FROM author", False),
        ("SELECT name FROM author WHERE note = 'I do not know'", False),
        ("(SELECT 'no data' AS a) UNION SELECT b FROM t", False),
        ("", False),
    ],
)
def test_golds_that_decline(gold, declines):
    assert gold_declines(gold) is declines


@given(st.sampled_from(TEXTS), st.sampled_from("abcxyz_"), st.booleans())
def test_whatever_reads_a_table_is_no_refusal(text, table, fenced):
    query = f"SELECT {literal(text)} AS answer, {table}.* FROM {table}"
    assert not is_refusal(f"```sql\n{query}\n```" if fenced else query)


@given(st.text(max_size=200))
def test_any_text_is_judged(text):
    is_refusal(text)
    is_refusal(f"SELECT 'I do not know {text}")


@pytest.mark.parametrize(
    "piece", ["no ", "select\n", "I do not ", "((", "'a' ", "sorry ", "select 'no ", "cannot\nselect "]
)
def test_hostile_length_costs_little(piece):
    started = time.process_time()
    for length in (19_000, 1_000_000):
        is_refusal(piece * (length // len(piece)))
    assert time.process_time() - started < 3


@pytest.fixture
def mixed(shop_folder):
    """One question with an answer, two without, one of them of a database that does not exist."""
    golds = [("SELECT name FROM customer", "shop", True), ("I do not know", "shop", False), ("", "nowhere", False)]
    made = (
        Question(str(at), "q", gold, db, "where", answerable=answerable)
        for at, (gold, db, answerable) in enumerate(golds)
    )
    return QuestionSet("mixed", tuple(made), shop_folder)


def test_refusals_are_judged_and_counted_apart(mixed, server):
    verdicts = score_predictions(mixed, ["SELECT name FROM customer", "I do not know", "SELECT a FROM b"], server)
    assert [(one.verdict, one.reason) for one in verdicts] == [
        ("correct", ""),
        ("correct", "declines"),
        ("incorrect", "invents SQL"),
    ]
    scores = {score.name: (score.correct, score.total) for score in summarize(mixed, verdicts)}
    assert scores["sql_accuracy"] == scores["sql_accuracy/category/where"] == (1, 1)
    assert scores["refusals"] == (1, 2)
    (other, *rest) = score_predictions(mixed, ["I do not know", "", "I do not know"], server)
    assert (other.verdict, other.reason, other.answerable) == ("rejected", "declines to answer", True)
    assert rest[0].reason == "neither declines nor answers"
    assert (flips(verdicts, [other, *rest]).questions, flips(verdicts, [other, *rest]).right_to_wrong) == (1, 1)


def test_a_set_without_any_answerable_question(mixed, server):
    asked = QuestionSet("idk", mixed.questions[1:], mixed.databases)
    verdicts = score_predictions(asked, ["I do not know", "I do not know"], server)
    assert [(score.name, score.value) for score in summarize(asked, verdicts)] == [("refusals", 1.0)]
