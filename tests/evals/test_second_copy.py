"""Chance hits are found out, and nothing right is refused."""

import csv
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from workbench.evals import second_copy
from workbench.evals.golds import expand
from workbench.evals.second_copy import Weak
from workbench.evals.sql_accuracy import Extras, _golds, score_predictions
from workbench.evals.telling import picks_extremes, with_inner_ties
from workbench.nano import DATA_DIR
from workbench.questions import Question, QuestionSet, load_question_set

DATA = Path(__file__).parents[2] / "../shared/data"
SCHEMA = """
CREATE TABLE supplier (supplier_id integer PRIMARY KEY, name text NOT NULL UNIQUE, country text, rating integer);
CREATE TABLE product (
  product_id integer PRIMARY KEY, supplier_id integer NOT NULL REFERENCES supplier,
  kind text CHECK (kind IN ('a', 'b', 'c')), price numeric(8, 2), stock integer, added date
);
"""


def rows():
    suppliers = [
        (at, f"'supplier {at}'", f"'{('Peru', 'Chad', 'Oman')[at % 3]}'", at * 7 % 10 + 1) for at in range(1, 13)
    ]
    products = [
        (
            at,
            at * 5 % 12 + 1,
            f"'{'abc'[at * at % 3]}'",
            at * 37 % 101 + 0.25,
            at * 13 % 17,
            f"DATE '2024-01-01' + {at * 11 % 90}",
        )
        for at in range(1, 61)
    ]
    return "".join(
        f"INSERT INTO {table} VALUES ({', '.join(map(str, row))});\n"
        for table, made in (("supplier", suppliers), ("product", products)) for row in made
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("databases")
    (place / "store").mkdir()
    (place / "store" / "schema.sql").write_text(SCHEMA)
    (place / "store" / "rows.sql").write_text(rows())
    return place


@pytest.fixture(scope="module")
def store(folder):
    def make(*golds):
        asked = (Question(str(at), f"question {at}", gold, "store", "x") for at, gold in enumerate(golds))
        return QuestionSet("store", tuple(asked), folder)

    return make


PAIRS = [
    ("SELECT COUNT(*) FROM product", "SELECT COUNT(product_id) FROM product"),
    ("SELECT COUNT(*) FROM product p JOIN supplier s ON s.supplier_id = p.supplier_id WHERE s.country = 'Peru'",
     "SELECT COUNT(1) FROM product WHERE supplier_id IN (SELECT supplier_id FROM supplier WHERE country = 'Peru')"),
    ("SELECT COUNT(*) FROM product p JOIN supplier s USING (supplier_id)", "SELECT COUNT(*) FROM product"),
    ("SELECT COUNT(DISTINCT supplier_id) FROM product", "SELECT COUNT(*) FROM supplier"),  # all of them sell
    ("SELECT MAX(price) FROM product", "SELECT price FROM product ORDER BY price DESC LIMIT 1"),
    ("SELECT COUNT(*) FROM product WHERE stock BETWEEN 3 AND 9",
     "SELECT COUNT(*) FROM product WHERE stock >= 3 AND stock <= 9"),
    ("SELECT SUM(p.price) FROM product p, supplier s WHERE p.supplier_id = s.supplier_id AND s.rating > 5",
     "SELECT SUM(price) FROM product p INNER JOIN supplier s ON p.supplier_id = s.supplier_id WHERE NOT rating <= 5"),
    ("SELECT name FROM supplier ORDER BY rating DESC, supplier_id LIMIT 1",
     "SELECT name FROM (SELECT name, ROW_NUMBER() OVER (ORDER BY rating DESC, supplier_id) AS n FROM supplier) AS x "
     "WHERE n = 1"),
    ("SELECT COUNT(*)::float / (SELECT COUNT(*) FROM product) FROM product WHERE kind = 'a'",
     "SELECT AVG(CASE WHEN kind = 'a' THEN 1.0 ELSE 0 END)::float FROM product"),
    ("SELECT s.name FROM supplier s JOIN product p ON p.supplier_id = s.supplier_id GROUP BY s.supplier_id, s.name "
     "ORDER BY SUM(p.price) DESC LIMIT 1",
     "SELECT name FROM supplier WHERE supplier_id = "
     "(SELECT supplier_id FROM product GROUP BY 1 ORDER BY SUM(price) DESC LIMIT 1)"),
    ("SELECT COUNT(*) FROM product WHERE kind IN ('a', 'b')", "SELECT COUNT(*) FROM product WHERE kind <> 'c'"),
    ("SELECT COUNT(*) FROM supplier WHERE country = 'Atlantis'",
     "SELECT SUM(CASE WHEN country = 'Atlantis' THEN 1 ELSE 0 END) FROM supplier"),
    ("SELECT name FROM supplier WHERE country = 'Atlantis'",
     "SELECT DISTINCT name FROM supplier WHERE country LIKE 'Atlantis'"),
    ("SELECT MIN(added) FROM product WHERE price > 500", "SELECT MIN(added) FROM product WHERE 500 < price"),
]  # fmt: skip


def test_equivalent_answers_stay_right_and_constants_do_not(store, server):
    questions = store(*(gold for gold, _ in PAIRS))
    verdicts = score_predictions(questions, [other for _, other in PAIRS], server)
    assert [(one.verdict, one.chance_hit) for one in verdicts] == [("correct", False)] * len(PAIRS)
    _, golds = _golds(questions, server, 100)
    lucky = [constant(golds[str(at)].tables[0]) for at in range(len(PAIRS))]
    plain = score_predictions(questions, lucky, server, extras=Extras(second_copy=False))
    assert {(one.verdict, one.chance_hit) for one in plain} == {("correct", None)}
    found = score_predictions(questions, lucky, server)
    assert {(one.verdict, one.exact, one.chance_hit) for one in found} == {("incorrect", False, True)}
    assert found[0].reason == "matches by chance: the gold is single cell, and on other rows: values differ"


def constant(table):
    if not table.rows:
        return "SELECT 1 WHERE false"
    value = table.rows[0][0]
    kinds = {int: "bigint", Decimal: "numeric", float: "float", str: "text", date: "date", type(None): ""}
    return f"SELECT CAST('{value}' AS {kinds[type(value)]})" if value is not None else "SELECT NULL"


def test_wrong_queries_that_agree_by_luck_are_found(store, server):
    gold = "SELECT COUNT(*) FROM supplier WHERE rating >= 5 AND country = 'Peru'"
    (right,) = server.database(store(), "store").run(gold, timeout_s=5, max_rows=1).rows[0]
    lucky = [
        f"SELECT COUNT(*) FROM supplier WHERE supplier_id <= {right}",
        f"SELECT MIN(n) FROM generate_series({right}, 9) AS n",
    ]
    verdicts = score_predictions(store(gold, gold), lucky, server)
    assert [(one.verdict, one.chance_hit) for one in verdicts] == [("incorrect", True)] * 2


def test_the_copy_is_made_once(store, server, monkeypatch):
    questions = store("SELECT COUNT(*) FROM product", "SELECT AVG(stock) FROM product")
    score_predictions(questions, ["SELECT 60", "SELECT 1"], server)
    monkeypatch.setattr(second_copy, "read_data", lambda _: pytest.fail("it was made again"))
    verdicts = score_predictions(
        questions, ["SELECT 59 + 1", "SELECT SUM(stock) * 1.0 / COUNT(*) FROM product"], server
    )
    assert [one.chance_hit for one in verdicts] == [True, False]


def test_where_no_rows_tell_the_answer_stands(store, server):
    questions = store(
        "SELECT COUNT(*) * 0 + 3 FROM product", "SELECT COUNT(DISTINCT kind) FROM product WHERE stock IS NULL"
    )
    verdicts = score_predictions(questions, ["SELECT 3", "SELECT 0"], server)
    assert [(one.verdict, one.chance_hit) for one in verdicts] == [("correct", None)] * 2
    _, golds = _golds(questions, server, 100)
    copy = second_copy.copy_of(Weak(questions, golds, server), "store")
    assert not any(copy.golds(number, questions.questions, golds) for number in range(copy.fillings))


def test_a_large_database_gets_no_copy(store, server, monkeypatch):
    monkeypatch.setattr(second_copy, "read_data", lambda _: None)
    (verdict,) = score_predictions(store("SELECT COUNT(*) + 0 FROM product"), ["SELECT 60"], server)
    assert (verdict.verdict, verdict.chance_hit) == ("correct", None)


def test_two_question_sets_do_not_share_a_copy(store, server):
    one, other = store("SELECT SUM(stock) FROM product"), store("SELECT SUM(stock) + 0 FROM product")
    copies = [second_copy.copy_of(Weak(each, _golds(each, server, 100)[1], server), "store") for each in (one, other)]
    assert copies[0].database.conninfo != copies[1].database.conninfo


@pytest.mark.parametrize(
    ("sql", "probe"),
    [
        ("SELECT a FROM t ORDER BY a LIMIT 1", None),
        ("SELECT 1 WHERE 2 = (SELECT a FROM t ORDER BY b LIMIT 1)",
         "SELECT 1 WHERE 2 = (SELECT a FROM t ORDER BY b FETCH FIRST 1 ROWS WITH TIES)"),
        ("SELECT 1 FROM (SELECT a FROM t LIMIT 2) AS q", "SELECT 1 FROM (SELECT a FROM t) AS q"),
        ("SELECT (", None),
    ],
)  # fmt: skip
def test_limits_inside_are_loosened_to_see_ties(sql, probe):
    assert with_inner_ties(sql) == probe


def test_extremes_of_a_query_inside_are_seen():
    assert picks_extremes("SELECT a FROM t WHERE b = (SELECT MAX(b) FROM t)")
    assert not picks_extremes("SELECT MAX(b) FROM t")


def test_a_tie_inside_the_gold_makes_rows_tell_nothing(store, server):
    least = "SELECT supplier_id FROM product GROUP BY 1 ORDER BY COUNT(*) LIMIT 1"
    questions = store(f"SELECT name FROM supplier WHERE supplier_id = ({least})")
    _, golds = _golds(questions, server, 100)
    copy = second_copy.copy_of(Weak(questions, golds, server), "store")
    for number in range(copy.fillings):
        told = copy.golds(number, questions.questions, golds)
        ties = least.replace("LIMIT 1", "FETCH FIRST 1 ROWS WITH TIES")
        assert not told or len(copy.fill(number).run(ties, timeout_s=5, max_rows=9).rows) == 1


def reworded(sql):
    return [f"SELECT * FROM ({sql}) AS q", f"WITH q AS ({sql}) SELECT * FROM q", sql.replace("COUNT(*)", "COUNT(1)")]


def test_golds_of_the_bundled_questions_confirm_themselves(server):
    heldout = load_question_set(DATA_DIR / "heldout.csv").thinned(100)
    _, golds = _golds(heldout, server, 100_000)
    asked = [question for question in heldout.questions if golds[question.id].weak]
    pairs = [(question, sql) for question in asked for sql in reworded(expand(question.query)[0])]
    questions = replace(heldout, questions=tuple(replace(one, id=str(at)) for at, (one, _) in enumerate(pairs)))
    verdicts = score_predictions(questions, [sql for _, sql in pairs], server)
    assert {one.verdict for one in verdicts} == {"correct"}
    checked = sum(one.chance_hit is False for one in verdicts)
    assert checked > 0.8 * len(pairs) > 50


def test_golds_on_defogs_databases_confirm_themselves(tmp_path, server):
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    for source in sorted((DATA / "defog-data").glob("*/*.sql")):
        (tmp_path / source.stem).mkdir()
        (tmp_path / source.stem / "schema.sql").write_text(source.read_text(encoding="utf-8"))
        (tmp_path / source.stem / "rows.sql").write_text("")
    with (DATA / "sql-eval" / "questions_gen_postgres.csv").open(newline="", encoding="utf-8") as handle:
        found = [row for row in csv.DictReader(handle) if (tmp_path / row["db_name"]).is_dir()]
    asked = [Question(str(at), row["question"], row["query"], row["db_name"], "x") for at, row in enumerate(found)]
    questions = QuestionSet("defog", tuple(asked), tmp_path)
    verdicts = score_predictions(questions, [expand(one.query)[0] for one in asked], server)
    assert {one.verdict for one in verdicts} == {"correct"}
    assert sum(one.chance_hit is False for one in verdicts) >= 3
