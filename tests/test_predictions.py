"""Predictions files: written, grown, cut in half, and read again, those of other tools too."""

import csv
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ConfigError, StorageError, WorkbenchError
from workbench.matching import answers_in_order, matched
from workbench.predictions import (
    Prediction,
    appending,
    digest_of,
    read_predictions,
    write_predictions,
)
from workbench.questions import Question, QuestionSet

PROMPTS = [f"schema\nq{n}?" for n in range(3)]
ONE = Prediction("mine", "0", "SELECT 'é'\n```", digest_of(PROMPTS[0]), (1, 2), model="m", engine="e 1", beams=4)


@pytest.fixture
def asked(tmp_path):
    return QuestionSet("mine", tuple(Question(str(n), f"q{n}?", "SELECT 1", "db", "where") for n in range(3)), tmp_path)


def answers(*ids, **changes):
    return [
        Prediction("mine", str(n), f"SELECT {n}", digest_of(PROMPTS[n]), **changes) for n in ids
    ]  # fmt: skip


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_digest_is_of_the_exact_text():
    # printf 'é\n' | sha256sum
    assert digest_of("é\n") == "edd3a863872a04239eb29ad4bc12fc892b3d4ae57cc7e786a3697816f8e141c2"


def test_what_is_written_is_read(tmp_path):
    failed = Prediction("mine", "1", "", digest_of(PROMPTS[1]), error="HTTP 500", further={"verdict": "error"})
    write_predictions(tmp_path / "new" / "p.jsonl", [ONE, failed])
    assert read_predictions(tmp_path / "new" / "p.jsonl") == [ONE, failed]
    first = json.loads((tmp_path / "new" / "p.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {
        "schema_version": 1, "question_set": "mine", "question_id": "0", "prompt_sha256": digest_of(PROMPTS[0]),
        "text": "SELECT 'é'\n```", "tokens": [1, 2], "model": "m", "engine": "e 1", "beams": 4,
    }  # fmt: skip


@given(
    st.lists(st.text(st.characters()), min_size=1, max_size=4)
)  # every code point: line ends, NUL, halves of surrogate pairs
def test_any_text_survives(texts):
    told = [Prediction("s", str(n), text) for n, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.jsonl"
        with appending(path) as add:
            for one in told:
                add(one)
        assert read_predictions(path) == told


_KEYS = st.sampled_from(
    ["question_set", "question_id", "id", "question", "text", "answer", "tokens", "error", "beams", "x"]
)
_VALUES = st.sampled_from([None, True, 0, 7, -1.5, "", "a", "é\n", [], [1], ["x"], {}, {"a": 1}])


@given(st.lists(st.dictionaries(_KEYS, _VALUES), max_size=4))
def test_any_json_is_read_or_refused_and_what_is_read_is_written_as_it_was(records):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "p.jsonl", *records)
        try:
            told = read_predictions(path)
        except ConfigError:
            return
        write_predictions(path, told)
        assert read_predictions(path) == told


def test_a_disk_that_refuses_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_predictions(tmp_path / "file" / "p.jsonl", [])
    with pytest.raises(StorageError), appending(tmp_path / "file" / "p.jsonl"):
        pass


def test_a_full_disk_is_a_storage_error():
    with pytest.raises(StorageError, match="full"), appending(Path("/dev/full")) as add:
        add(ONE)


@pytest.mark.parametrize("kept", range(1, 9))
def test_half_a_last_line_is_dropped_and_written_over(tmp_path, kept):
    path = tmp_path / "p.jsonl"
    write_predictions(path, answers(0, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - kept * 10])
    assert read_predictions(path) == answers(0)
    with appending(path) as add:
        add(answers(1)[0])
    assert path.read_bytes() == whole


def test_a_whole_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "p.jsonl"
    write_predictions(path, answers(0))
    path.write_bytes(path.read_bytes()[:-1])
    with appending(path) as add:
        add(answers(1)[0])
    assert read_predictions(path) == answers(0, 1)


def test_an_error_raised_between_two_answers_is_not_the_files(tmp_path):
    with pytest.raises(ConnectionError), appending(tmp_path / "p.jsonl") as add:
        add(ONE)
        raise ConnectionError  # an OSError, but none of the disk
    assert read_predictions(tmp_path / "p.jsonl") == [ONE]


def test_an_answer_takes_the_place_of_an_error(tmp_path):
    path = tmp_path / "p.jsonl"
    write_predictions(path, [*answers(1, error="HTTP 500"), *answers(0), *answers(1), *answers(1, error="HTTP 503")])
    assert read_predictions(path) == answers(1, 0)


def test_all_faults_at_once_with_their_lines(tmp_path):
    path = write(
        tmp_path / "p.jsonl",
        {"question_id": "0", "text": "a"},
        ["no object"],
        {"text": "a"},
        {"question_id": 2},
        {"question_id": "3", "text": 7, "tokens": ["x"]},
        {"question_id": "4", "text": "a", "schema_version": 9},
        {"question_id": "0", "text": "b"},
    )
    path.write_text("{]\n" + path.read_text())
    with pytest.raises(ConfigError) as caught:
        read_predictions(path)
    assert caught.value.faults == [
        "line 1: is no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))",
        "line 3: is no JSON object",
        "line 4: names no question (question_id)",
        "line 5: holds no answer (text)",
        "line 6: text is no text",
        "line 6: tokens is no list of whole numbers",
        "line 7: is of schema_version 9, this workbench reads 1; bring it up to date",
        "line 8: answers the question of line 2 a second time",
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe", "SELECT 1é".encode("utf-16")])
def test_a_file_that_is_no_text(tmp_path, content):
    (tmp_path / "p.jsonl").write_bytes(content)
    with pytest.raises(ConfigError, match="UTF-8"):
        read_predictions(tmp_path / "p.jsonl")


@pytest.mark.parametrize("name", ["missing.jsonl", ""])
def test_a_missing_file_is_one_sentence(tmp_path, name):
    with pytest.raises(WorkbenchError, match="no predictions at"):
        read_predictions(tmp_path / name)


def test_files_of_before_are_read(tmp_path, asked):
    line = {"id": "1", "db_name": "db", "question": "q1?", "gold": "SELECT 1", "answer": "SELECT 1\n```", "sql": "x"}
    (one,) = read_predictions(write(tmp_path / "p.jsonl", line))
    assert (one.question_id, one.text, one.further["sql"]) == ("1", "SELECT 1\n```", "x")
    assert matched([one], asked, PROMPTS) == {"1": one}  # it tells no digest, so none can differ


def test_sql_evals_result_is_read_by_its_questions(tmp_path, asked):
    path = tmp_path / "result.csv"
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ("db_name", "question", "prompt", "generated_query", "tokens", "correct"))
        writer.writeheader()
        for n in (2, 0, 1):  # sql-eval sorts by database and category
            query = f'SELECT "a",\n {n}' if n else ""
            writer.writerow({"db_name": "db", "question": f"q{n}? ", "prompt": "x" * 200_000, "generated_query": query})
    told = answers_in_order(read_predictions(path), asked, PROMPTS)
    assert [one.text for one in told] == ["", 'SELECT "a",\n 1', 'SELECT "a",\n 2']


@pytest.mark.parametrize("header", ["question,sql", "id_of,generated_query"])
def test_a_csv_of_something_else(tmp_path, header):
    (tmp_path / "r.csv").write_text(f"{header}\na,b\n")
    with pytest.raises(ConfigError, match="is missing"):
        read_predictions(tmp_path / "r.csv")
