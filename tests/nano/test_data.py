"""The bundled data: schemas, the question generator's splits, and every shipped gold on PostgreSQL."""

from collections import Counter
from itertools import islice

import pytest
import sqlglot

from workbench.nano import DATA_DIR
from workbench.nano.generate import (
    CATEGORIES,
    generate,
    hardness_of,
    is_heldout,
    normalised,
    schema_text,
    stream_database_names,
)
from workbench.nano.rows import inserts
from workbench.nano.schemas import DATABASES
from workbench.nano.ship import CLASSES, is_telling, postgres
from workbench.questions import load_question_set

LEAST = {"heldout": 300, "unseen": 100, "calibration": 256}
SHIPPED = {name: load_question_set(DATA_DIR / f"{name}.csv") for name in LEAST}


@pytest.fixture(scope="module")
def stream():
    return list(generate("train", 20_000, seed=5))


@pytest.fixture(scope="module")
def connections():
    with postgres(list(DATABASES)) as opened:
        yield opened


def test_there_are_enough_schemas_of_two_to_six_tables():
    assert len(stream_database_names()) >= 6
    assert len(stream_database_names("unseen")) == 2
    assert not set(stream_database_names()) & set(stream_database_names("unseen"))
    for database in DATABASES.values():
        assert 2 <= len(database.tables) <= 6
        assert len({table.alias for table in database.tables}) == len(database.tables)


@pytest.mark.parametrize("name", sorted(DATABASES))
def test_shipped_schema_and_rows_are_those_of_the_description(name):
    folder = DATA_DIR / "databases" / name
    assert (folder / "schema.sql").read_text() == DATABASES[name].ddl()
    assert (folder / "schema.sql").read_text().strip() == schema_text(name)
    assert (folder / "rows.sql").read_text() == inserts(DATABASES[name])


def test_training_never_meets_a_heldout_or_unseen_text(stream):
    trained = {normalised(question.question) for question in stream}
    asked = {normalised(q.question) for name in ("heldout", "unseen") for q in SHIPPED[name].questions}
    asked |= {normalised(q.question) for q in generate("heldout", 3000, seed=6)}
    asked |= {normalised(q.question) for q in generate("unseen", 3000, seed=6)}
    assert not trained & asked


def test_splits_follow_the_hash():
    assert not any(is_heldout(q.question) for q in SHIPPED["calibration"].questions)
    assert all(is_heldout(q.question) for q in SHIPPED["heldout"].questions)
    assert is_heldout("How  many patients") == is_heldout("how many PATIENTS?")


def test_the_same_seed_gives_the_same_questions():
    first, again, other = (list(generate("train", 300, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[:100] == list(islice(generate("train", 1000, 1), 100))


def test_a_question_has_one_answer(stream):
    """The same text about the same database never comes with two queries."""
    golds: dict[tuple[str, str], str] = {}
    for q in stream:
        assert golds.setdefault((q.db_name, normalised(q.question)), q.query) == q.query, q


def test_the_stream_covers_categories_and_hardness(stream):
    assert set(Counter(q.query_category for q in stream)) == set(CATEGORIES)
    classes = Counter(q.hardness for q in stream)
    assert all(classes[name] > 0.1 * len(stream) for name in CLASSES)
    assert {q.db_name for q in stream} == set(stream_database_names())
    assert all("\n" not in q.query + q.question and not q.query.endswith(";") for q in stream)


def test_hardness_can_be_asked_for():
    assert {q.hardness for q in generate("train", 500, 3, {"easy", "medium"})} == {"easy", "medium"}
    with pytest.raises(ValueError, match="impossible"):
        next(generate("train", 1, 1, {"impossible"}))
    with pytest.raises(ValueError, match="nosuch"):
        next(generate("nosuch", 1, 1))


@pytest.mark.parametrize("name", sorted(LEAST))
def test_shipped_golds_run_and_tell(name, connections):
    questions = SHIPPED[name].questions
    assert len(questions) >= LEAST[name]
    assert len({normalised(q.question) for q in questions}) == len(questions)
    for q in questions:
        sqlglot.parse_one(q.query, read="postgres")
        assert is_telling(connections[q.db_name], q.query), q
        assert q.hardness == hardness_of(q.query), q


@pytest.mark.parametrize("name", ["heldout", "unseen"])
def test_shipped_sets_are_balanced(name):
    questions = SHIPPED[name].questions
    assert {q.db_name for q in questions} == set(stream_database_names(name))
    for share, counts in (
        (0.08, Counter(q.query_category for q in questions)),
        (0.12, Counter(q.hardness for q in questions)),
    ):
        assert min(counts.values()) > share * len(questions), counts
    assert 0 < sum(q.order_matters for q in questions) < len(questions) / 2


def test_generated_queries_run(connections):
    """A sample beyond the shipped ones, empty answers allowed."""
    for split in ("train", "unseen"):
        for q in generate(split, 400, seed=9):
            connections[q.db_name].execute(q.query)
