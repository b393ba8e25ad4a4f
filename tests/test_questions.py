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


def test_cells_beyond_the_header_that_hold_nothing_and_rows_of_commas(csv_path: Path) -> None:
    csv_path.write_text(f"{HEADER}\nOne?,SELECT 1,shop,where,\n,,,\n\nTwo?,SELECT 2,shop,where,, \n")
    assert [question.id for question in load_question_set(csv_path).questions] == ["0", "1"]


def test_a_quote_inside_a_quoted_cell_is_read_as_sql_eval_reads_it(csv_path: Path) -> None:
    """Its advanced questions hold such a cell; pandas and this agree on what follows the stray quote."""
    csv_path.write_text(f'{HEADER}\n"Which change, in all". Return it.,SELECT 1,shop,where\n')
    assert load_question_set(csv_path).questions[0].question == "Which change, in all. Return it."


def test_only_the_plain_instructions_are_shown(csv_path: Path) -> None:
    csv_path.write_text(f'{HEADER},instructions,full_instructions\nOne?,SELECT 1,shop,where,Brief.,"Brief.\nLong."\n')
    assert load_question_set(csv_path).questions[0].instructions == "Brief."


def test_who_says_whether_order_counts(csv_path: Path) -> None:
    asks = "Sort by price: which items?"
    csv_path.write_text(
        f"{HEADER},order_matters\n{asks},SELECT 1,shop,where,no\n"
        f"{asks},SELECT 1,shop,where,\nOne?,SELECT 1,shop,where,1\n"
    )
    questions = load_question_set(csv_path).questions
    assert [(q.order_matters, q.order_from) for q in questions] == [(False, "file"), (True, "rule"), (True, "file")]


def test_questions_without_an_answer(csv_path: Path) -> None:
    apology = "\"SELECT 'Sorry, I don''t have the data to answer that.' AS answer;\""
    csv_path.write_text(
        f"{HEADER},answerable\nA?,{apology},shop,cat_a,\nB?,I do not know,shop,own,\nC?,,shop,own,false\n"
        f"D?,SELECT 1,shop,own,\nE?,{apology},shop,own,true\nF?,SELECT 1,shop,own,False\n"
    )
    questions = load_question_set(csv_path)
    assert [question.answerable for question in questions.questions] == [False, False, False, True, True, False]
    assert [question.id for question in questions.answerable().questions] == ["3", "4"]


def test_flags_are_true_or_false(csv_path: Path) -> None:
    csv_path.write_text(f"{HEADER},order_matters,answerable\nOne?,SELECT 1,shop,where,maybe,x\n")
    with pytest.raises(ConfigError) as caught:
        load_question_set(csv_path)
    assert [fault[:30] for fault in caught.value.faults] == [
        "line 2: order_matters is 'mayb",
        "line 2: answerable is 'x'; wri",
    ]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "crm"
    folder.mkdir()
    (folder / "schema.sql").write_text("CREATE TABLE client (id int);")
    (folder / "client.csv").write_text("id\n1\n")
    (folder / "questions.csv").write_text("question,query\nHow many clients?,SELECT count(*) FROM client\n")
    return folder


@pytest.mark.parametrize("given", ["", "questions.csv"])
def test_a_folder_of_ones_own(own: Path, given: str) -> None:
    questions = load_question_set(own / given)
    (question,) = questions.questions
    assert questions.name == ("questions" if given else "crm")
    assert (question.db_name, question.query_category) == ("crm", "own")
    assert questions.schema("crm") == "CREATE TABLE client (id int);"
    assert "COPY" in questions.script("crm")


def test_a_folder_named_by_a_dot(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    questions = load_question_set(Path())
    assert (questions.name, questions.questions[0].db_name) == ("crm", "crm")
    assert questions.schema("crm")


def test_a_folder_that_says_its_own_names(own: Path) -> None:
    (own / "questions.csv").write_text(f"{HEADER}\nHow many?,SELECT 1,sales,easy ones\n")
    questions = load_question_set(own)
    assert (questions.questions[0].db_name, questions.questions[0].query_category) == ("sales", "easy ones")
    assert questions.schema("sales")


def test_a_folder_without_questions(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no question file at .*questions\.csv"):
        load_question_set(tmp_path)


def test_the_digest_covers_questions_schema_and_rows(own: Path) -> None:
    digests = {load_question_set(own).digest}
    (own / "client.csv").write_text("id\n2\n")
    digests.add(load_question_set(own).digest)
    (own / "schema.sql").write_text("CREATE TABLE client (id bigint);")
    digests.add(load_question_set(own).digest)
    (own / "questions.csv").write_text("question,query,order_matters\nHow many clients?,SELECT 1,true\n")
    digests.add(load_question_set(own).digest)
    assert len(digests) == 4


def test_thinning_keeps_everything_else(csv_path: Path) -> None:
    csv_path.write_text(HEADER + "\n" + "".join(f"Q{n}?,SELECT 1,shop,where\n" for n in range(10)))
    questions = load_question_set(csv_path)
    thin = questions.thinned(3)
    assert [question.id for question in thin.questions] == ["0", "3", "6"]
    assert (thin.name, thin.databases) == (questions.name, questions.databases)
    assert questions.thinned(10) is questions.thinned(None) is questions
