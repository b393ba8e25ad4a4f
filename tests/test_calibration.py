"""Calibration texts: where they are from, what becomes of them, and what is said of a source that holds none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from workbench import catalog
from workbench.artifact import sha256_json
from workbench.calibration import CalibrationRequest, load_calibration, pieces
from workbench.calibration_records import MOST
from workbench.checkpoint import open_checkpoint
from workbench.cli import cli
from workbench.errors import CalibrationError, WorkbenchError
from workbench.making import make_artifact, make_job
from workbench.prompt import PROMPTS

NANO, V1 = PROMPTS["nano"], PROMPTS["v1"]
ASKED = {"question": "How many cities?", "schema": "CREATE TABLE city (n int);", "query": "SELECT count(*) FROM city"}


def written(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_the_bundled_questions_in_the_models_own_prompt():
    nano, v1 = load_calibration(None, NANO), load_calibration(None, V1)
    assert nano.source == v1.source == "bundled"
    assert len(nano.texts) == len(v1.texts) == 256
    assert nano.texts[0].startswith("### Schema\nCREATE TABLE") and nano.texts[0].endswith("\n```")
    assert nano.texts[0].split("```sql\n")[1] in v1.texts[0]
    assert nano.digest != v1.digest
    assert nano.digest == sha256_json(list(nano.texts))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "one"}\n\n{"text": "two"}\n{"text": " "}\n'),
        ("a.json", json.dumps([{"content": "one"}, {"content": "two"}, {"content": None}])),
        ("b.json", '{"prompt": "o", "completion": "ne"}\n{"prompt": "two", "completion": null}\n'),
        ("a.csv", "id,text\n1,one\n2,two\n3,\n"),
        ("A.JSONL.GZ", gzip.compress(b'{"text": "one"}\n{"text": "two"}')),
        ("bom.csv", "\ufefftext,id\none,1\ntwo,2\n"),
    ],
)
def test_records_of_every_kind(name, content, tmp_path):
    found = load_calibration(written(tmp_path / name, content), NANO)
    assert found.texts == ("one", "two")
    assert found.source == name


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"text": ["one", "two"] * MOST}), tmp_path / "a.parquet")
    assert load_calibration(str(tmp_path / "a.parquet"), NANO).texts == ("one", "two") * (MOST // 2)
    with pytest.raises(WorkbenchError, match="is no Parquet file"):
        load_calibration(written(tmp_path / "b.parquet", "PAR1 no more"), NANO)


def test_questions_with_their_sql_are_put_as_the_model_is_asked(tmp_path):
    names = {"question": "sql_prompt", "schema": "sql_context", "query": "sql"}
    for number, keys in enumerate((dict(zip(ASKED, ASKED, strict=True)), names)):
        file = written(tmp_path / f"{number}.jsonl", json.dumps({keys[name]: value for name, value in ASKED.items()}))
        for prompt in (NANO, V1):
            expected = prompt.render(ASKED["schema"], ASKED["question"]) + ASKED["query"]
            assert load_calibration(file, prompt).texts == (expected,)


def test_a_question_set_takes_its_schemas_from_its_databases(tmp_path):
    (tmp_path / "schema.sql").write_text(ASKED["schema"])
    (tmp_path / "rows.sql").write_text("")
    file = written(tmp_path / "questions.csv", f"question,query\n{ASKED['question']},{ASKED['query']}\n")
    expected = NANO.render(ASKED["schema"], ASKED["question"]) + ASKED["query"] + "\n```"
    assert load_calibration(file, NANO).texts == load_calibration(str(tmp_path), NANO).texts == (expected,)


@given(st.text(alphabet="ab \n", max_size=300), st.integers(4, 40))
def test_pieces_lose_no_word_and_none_is_too_long(text, size):
    cut = pieces(text, size)
    assert all(0 < len(piece) <= size + 2 for piece in cut)  # a mark may end one
    assert "".join("".join(cut).split()) == "".join(text.split())
    assert all(len(a) + len(b) > size - 2 for a, b in pairwise(cut)) or len(cut) < 2


def test_running_text_is_cut_at_empty_lines(tmp_path):
    long = "SELECT 1;\n" * 500
    file = written(tmp_path / "a.txt", f"one\n\n\n\ntwo\r\n\r\nthree\n\n{long}")
    first, second = load_calibration(file, NANO).texts
    assert first.startswith("one\n\ntwo\n\nthree\n\nSELECT 1;\n")
    assert first.endswith(";\n") and len(first) > 4080 and len(first + second) == 5017


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.txt", " \n\n", "holds no text"),
        ("latin.txt", "Zürich".encode("latin-1"), "is no text in UTF-8"),
        ("latin.csv", "text\nZürich\n".encode("latin-1"), "is no text in UTF-8"),
        ("none.jsonl", '{"id": 1, "label": 2}', "no column to calibrate on among id, label"),
        ("list.jsonl", "[1, 2]", "must hold records"),
        ("broken.jsonl", '{"text": "one"}\n{"text": ', "is no JSON in line 2"),
        ("broken.json", '[{"text": "one"},', "is no JSON in it"),
        ("empty.csv", "", "holds no text"),
        ("torn.txt.gz", b"no gzip", "cannot be read"),
        ("torn.jsonl.gz", gzip.compress(b'{"text": "one"}\n' * 999)[:-9], "cannot be read"),
    ],
)
def test_a_source_that_cannot_be_used_is_one_sentence(name, content, said, tmp_path):
    with pytest.raises(CalibrationError, match=said) as caught:
        load_calibration(written(tmp_path / name, content), NANO)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("recipe", "said"), [("gptq-4bit", "there is no file"), ("fp16", "leave out --calibration")])
def test_the_command_refuses_before_any_work(recipe, said, tmp_path):
    source = str(tmp_path / "nowhere.txt")
    command = ["convert", "--recipe", recipe, "--out", str(tmp_path / "out"), "--calibration", source]
    with pytest.raises(WorkbenchError, match=said):
        CliRunner().invoke(cli, command, catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_the_manifest_names_texts_and_digests_and_the_key_knows_them(
    tiny_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    checkpoint, recipe = open_checkpoint(str(tiny_checkpoint("gpt_bigcode"))), catalog.get_recipe("gptq-4bit")
    texts = [f"List city {n} of {n * 37 % 101}" for n in range(9)]
    file = written(tmp_path / "mine.jsonl", "\n".join(json.dumps({"text": text}) for text in texts))
    made = [
        make_artifact(checkpoint, recipe, tmp_path / str(memory), calibration=CalibrationRequest(file, memory))
        for memory in (0, 1 << 30)
    ]
    said = made[0].artifact.manifest.details["calibration"]
    assert (said["source"], said["texts"]) == ("mine.jsonl", 9)
    assert said["texts_sha256"] == sha256_json(texts)
    assert len({one.artifact.manifest.build_key for one in made}) == 1
    assert make_job(checkpoint, recipe, file).key("a") != make_job(checkpoint, recipe).key("a")
