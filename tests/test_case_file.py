"""Lines in, lines out; what is no case is told with its line number."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.case_file import cases_table, fault_text, read_cases, scripts_in, summary
from workbench.errors import ConfigError, EvaluationError
from workbench.evals.sql_accuracy import Verdict

LINE = {"setup_sql": "CREATE TABLE t (a int)", "golds": ["SELECT 1"], "candidate": "SELECT 2"}


def unknown(name):
    raise EvaluationError(f"there is no database {name!r}")


def read(*records, scripts=unknown):
    return read_cases([text if isinstance(text, str) else json.dumps(text) for text in records], "mine", scripts)


def faults(*records):
    with pytest.raises(ConfigError) as caught:
        read(*records)
    return caught.value.faults


def test_a_line_becomes_a_case_and_other_keys_come_back():
    question = {"question": "Which?", "order_matters": True}
    (line,) = read(LINE | question | {"id": "x7", "mine": {"a": [1]}})
    assert (line.case.setup_sql, line.case.golds, line.case.candidate) == tuple(LINE.values())
    assert (line.case.question, line.case.order_matters) == ("Which?", True)
    answer = line.answer(Verdict("1", "correct", True, "", "SELECT 2", "single cell", 0.12345))
    assert answer == {
        "line": 1, "id": "x7", "mine": {"a": [1]}, "verdict": "correct", "exact": True, "reason": "",
        "sql": "SELECT 2", "weak": "single cell", "seconds": 0.1235,
    }  # fmt: skip


def test_empty_lines_are_skipped_and_lines_keep_their_numbers():
    assert [line.number for line in read("", LINE, "  \n", "\t", LINE)] == [2, 5]


@pytest.mark.parametrize(
    "record",
    [
        {"setup": "s", "gold": "g", "answer": "a"},
        {"setup_sql": "s", "query": "g", "prediction": "a", "database": "not needed", "order_matters": None},
        {"database": "shop", "golds": ["g"], "candidate": "a", "setup_sql": None, "order_matters": "false"},
        {"db_name": "shop", "golds": ["g"], "gold": "other", "candidate": "a", "answer": "other"},
    ],
)
def test_other_spellings_are_understood(record):
    (line,) = read(record, scripts={"shop": "s"}.__getitem__)
    assert (line.case.setup_sql, line.case.golds, line.case.candidate) == ("s", ["g"], "a")
    assert not line.case.order_matters


def test_an_empty_answer_and_an_empty_setup_are_cases():
    first, second = read(LINE | {"candidate": ""}, LINE | {"candidate": None, "setup_sql": ""})
    assert (first.case.candidate, second.case.candidate, second.case.setup_sql) == ("", "", "")


def test_all_faults_are_told_at_once():
    assert faults(
        LINE,
        "{",
        "[1]",
        {"id": 1},
        LINE | {"golds": []},
        LINE | {"golds": [1]},
        LINE | {"golds": {}},
        LINE | {"candidate": 7},
        LINE | {"question": 7},
        LINE | {"order_matters": "perhaps"},
        LINE | {"setup_sql": 7},
    ) == [
        "line 2: is no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))",
        "line 3: is no JSON object",
        "line 4: setup_sql is missing (or database, the name of one)",
        "line 4: golds is missing",
        "line 4: candidate is missing",
        "line 5: golds is missing",
        "line 6: golds is neither a text nor a list of texts",
        "line 7: golds is neither a text nor a list of texts",
        "line 8: candidate is no text",
        "line 9: question is no text",
        "line 10: order_matters is neither true nor false",
        "line 11: setup_sql is no text",
    ]


def test_a_database_that_is_not_there_is_a_fault_of_its_line_alone():
    missing, whole = read(LINE | {"setup_sql": None, "database": "nowhere"}, LINE)
    assert whole.fault is None
    assert missing.answer(missing.fault)["verdict"] == "harness_error"
    assert missing.answer(missing.fault)["reason"] == "there is no database 'nowhere'"


def test_nothing_to_judge_is_a_fault():
    assert faults("", "\n") == ["holds no case; write one JSON object a line"]


def test_a_file_in_another_encoding_is_a_fault():
    with pytest.raises(ConfigError, match="UTF-8"):
        read_cases(io.TextIOWrapper(io.BytesIO(b'{"a": "\xff"}'), encoding="utf-8"), "mine", unknown)


KEYS = st.sampled_from([*LINE, "database", "order_matters", "question", "id", ""])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    )
)
@settings(max_examples=200)
def test_any_json_is_a_case_or_a_fault(value):
    try:
        (line,) = read(json.dumps(value))
    except ConfigError as error:
        assert all(fault.startswith("line 1: ") for fault in error.faults)
    else:
        json.dumps(line.answer(EvaluationError("why")))


def test_the_bundled_databases_and_those_of_a_folder_are_found(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "schema.sql").write_text("CREATE TABLE t (a int);")
    (tmp_path / "mine" / "rows.sql").write_text("INSERT INTO t VALUES (1);")
    scripts = scripts_in(tmp_path)
    assert "INSERT INTO t" in scripts("mine")
    assert "CREATE TABLE" in scripts("bank")
    with pytest.raises(EvaluationError, match="'none'"):
        scripts("none")


def test_a_reader_sees_each_case_and_the_counts():
    lines = read(LINE | {"id": "a"}, LINE, LINE)
    outcomes = [
        Verdict("1", "correct", True, "", "SELECT 2", "single cell"),
        Verdict("2", "error", False, "column\n" + "x" * 100, "SELECT 2"),
        EvaluationError("correct its gold"),
    ]
    judged = list(zip(lines, outcomes, strict=True))
    rows = cases_table(judged).rows
    assert rows[0] == ("1", "a", "correct", "yes", "single cell", "")
    assert rows[1][-1].startswith("column xx") and len(rows[1][-1]) == 60
    assert rows[2][2] == "harness_error"
    assert summary(judged) == "3 cases: 1 correct (1 exact), 1 error, 1 harness_error"
    assert fault_text(judged) == "1 of 3 cases have a setup or gold that fails; correct these, as told: lines 3"
    assert fault_text(judged[:2]) == ""
