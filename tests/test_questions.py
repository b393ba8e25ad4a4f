"""Question sets in sql-eval's CSV format: read, and every fault of a file named at once."""

from pathlib import Path

import pytest

from workbench.errors import ConfigError, EvaluationError
from workbench.nano import DATA_DIR
from workbench.questions import load_question_set

HEADER = "question,query,db_name,query_category"


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    database = tmp_path / "databases" / "shop"
    database.mkdir(parents=True)
    (database / "schema.sql").write_text("\nCREATE TABLE t (id int);\n")
    (database / "rows.sql").write_text("INSERT INTO t VALUES (1);\n")
    return tmp_path / "questions.csv"


def test_sql_evals_columns_are_enough(csv_path: Path) -> None:
    csv_path.write_text(f'{HEADER}\n" How many? ",SELECT count(*) FROM t,shop,group_by\n')
    questions = load_question_set(csv_path)
    (question,) = questions.questions
    assert questions.name == "questions"
    assert (question.id, question.question, question.query) == ("0", "How many?", "SELECT count(*) FROM t")
    assert (question.hardness, question.order_matters, question.instructions) == (None, False, "")
    assert questions.db_names() == ["shop"]
    assert questions.schema("shop") == "CREATE TABLE t (id int);"
    assert questions.script("shop") == "\nCREATE TABLE t (id int);\n\n;\nINSERT INTO t VALUES (1);\n"


def test_extra_columns_and_their_order(csv_path: Path) -> None:
    csv_path.write_text(
        "hardness,order_matters,db_name,query_category,query,question,instructions,unheard_of\n"
        "easy,True,shop,where,SELECT 1,One?,- Be brief,x\n"
    )
    (question,) = load_question_set(csv_path, name="mine").questions
    assert (question.hardness, question.order_matters, question.instructions) == ("easy", True, "- Be brief")


def test_a_gold_of_several_lines_and_quotes(csv_path: Path) -> None:
    csv_path.write_text(f'{HEADER}\nOne?,"SELECT ""a"",\n  b\nFROM t",shop,where\nTwo?,SELECT 2,shop,where\n')
    first, second = load_question_set(csv_path).questions
    assert first.query == 'SELECT "a",\n  b\nFROM t'
    assert second.id == "1"


def test_a_spreadsheets_byte_order_mark(csv_path: Path) -> None:
    csv_path.write_text(f"{HEADER}\r\nOne?,SELECT 1,shop,where\r\n", encoding="utf-8-sig")
    assert load_question_set(csv_path).questions[0].question == "One?"


def test_all_faults_at_once_with_their_lines(csv_path: Path) -> None:
    csv_path.write_text(
        f'{HEADER}\nOne?,"SELECT\n1",shop,where\nTwo?,,shop,\nThree?,SELECT a, b,shop,where\nFour?,SELECT 1,shop\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_question_set(csv_path)
    assert caught.value.faults == [
        "line 4: query is empty",
        "line 4: query_category is empty",
        "line 5: has more cells than columns; put texts that hold commas in quotes",
        "line 6: query_category is empty",
    ]


def test_missing_columns(csv_path: Path) -> None:
    csv_path.write_text("question,sql\nOne?,SELECT 1\n")
    with pytest.raises(ConfigError) as caught:
        load_question_set(csv_path)
    assert [fault.split()[1] for fault in caught.value.faults] == ["'query'", "'db_name'", "'query_category'"]


def test_what_is_no_text(csv_path: Path) -> None:
    csv_path.write_bytes(HEADER.encode() + b"\n\xff\xfe,x,y,z\n")
    with pytest.raises(ConfigError, match="no CSV in UTF-8"):
        load_question_set(csv_path)


@pytest.mark.parametrize("text", [f"{HEADER}\n", f"{HEADER}"])
def test_no_question(csv_path: Path, text: str) -> None:
    csv_path.write_text(text)
    with pytest.raises(EvaluationError, match="no question; add"):
        load_question_set(csv_path)


def test_an_empty_file(csv_path: Path) -> None:
    csv_path.write_text("")
    with pytest.raises(ConfigError, match="'question' is missing"):
        load_question_set(csv_path)


def test_no_file(csv_path: Path) -> None:
    with pytest.raises(EvaluationError, match="give --questions"):
        load_question_set(csv_path)


def test_a_database_that_is_not_there(csv_path: Path) -> None:
    csv_path.write_text(f"{HEADER}\nOne?,SELECT 1,bank,where\n")
    with pytest.raises(EvaluationError, match=r"no database 'bank'.*--databases"):
        load_question_set(csv_path).schema("bank")


@pytest.mark.parametrize("path", sorted(DATA_DIR.glob("*.csv")), ids=lambda path: path.stem)
def test_shipped_sets_load_with_their_databases(path: Path) -> None:
    questions = load_question_set(path)
    for name in questions.db_names():
        assert "CREATE TABLE" in questions.schema(name)
        assert "INSERT INTO" in questions.script(name)
