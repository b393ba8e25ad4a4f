"""Calibration texts from the Hub: the real client against a local stand-in that speaks its protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import LocalHub

from workbench.hub_dataset import choose, parse

SECRET = "hf_planted_secret"
LOAD = """
import json, sys
from workbench.calibration import load_calibration
from workbench.errors import WorkbenchError
from workbench.prompt import PROMPTS

for source in sys.argv[1:]:
    try:
        found = load_calibration(source, PROMPTS["nano"])
        print(json.dumps([found.source, found.texts]))
    except WorkbenchError as error:
        print(json.dumps([error.exit_code, str(error)]))
"""


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A data set of two configurations, with what else lies in such repositories."""
    raw = {"train-0-of-2": "one", "train-1-of-2": "two", "test": "three"}
    files = {f"raw/{name}.jsonl": json.dumps({"text": text}).encode() for name, text in raw.items()}
    files["other/train.csv"] = b"text\nfour\n"
    files |= dict.fromkeys(("README.md", "dataset_infos.json", "make_it.py", "LICENSE.txt"), b"not asked for")
    with LocalHub() as server:
        repository = server.add_repository("org/model", files, kind="datasets")
        repository.refs["refs/tags/v1"] = repository.refs["refs/heads/main"]
        yield server


def load(hub: LocalHub, tmp_path: Path, *sources: str, **environment: str) -> list[list[object]]:
    settings = hub.environment(tmp_path) | environment
    command = [sys.executable, "-c", LOAD, *sources]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=120, check=True)
    assert SECRET not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_wanted_part_is_fetched_and_nothing_else(hub: LocalHub, tmp_path: Path) -> None:
    found = load(hub, tmp_path, "org/model", "hub:org/model:raw/test", "org/model@v1:other")
    commit = hub.repository("org/model", "datasets").refs["refs/heads/main"]
    assert found == [
        [f"org/model@{commit}/raw/train-0-of-2.jsonl", ["one"]],
        [f"org/model@{commit}/raw/test.jsonl", ["three"]],
        [f"org/model@{commit}/other/train.csv", ["four"]],
    ]
    asked = {request.path.partition("/resolve/")[2].partition("/")[2] for request in hub.asked(pattern="/resolve/")}
    assert asked == {"raw/train-0-of-2.jsonl", "raw/test.jsonl", "other/train.csv"}
    assert load(hub, tmp_path, "org/model", HF_HUB_OFFLINE="1") == found[:1]  # what was fetched is found again
    assert load(hub, tmp_path, "org/model", HF_ENDPOINT="http://127.0.0.1:9") == found[:1]


def test_what_the_hub_refuses_is_one_sentence(hub: LocalHub, tmp_path: Path) -> None:
    hub.add_token(SECRET, "reader", "read")
    repository = hub.repository("org/model", "datasets")
    repository.gated = "auto"
    repository.readers.add("reader")
    sources = ("org/model", "org/none", "org/model@gone", "org/model:validation")
    (gated,) = load(hub, tmp_path, "org/model")
    assert gated[0] == 2 and "is gated" in str(gated[1])
    told = load(hub, tmp_path, *sources[1:], HF_TOKEN=SECRET)
    for answer, words in zip(
        told, ("check the name", "has no revision 'gone'", "for 'validation'; name a part"), strict=True
    ):
        assert answer[0] == 2 and words in str(answer[1])
    (away,) = load(hub, tmp_path / "anew", "org/model", HF_HUB_OFFLINE="1")
    assert away[0] == 2 and "the Hub cannot be reached" in str(away[1])


def test_names_are_taken_apart() -> None:
    assert parse("a/b") == ("a/b", None, None)
    assert parse("a/b@refs/convert/parquet:default/train") == ("a/b", "refs/convert/parquet", "default/train")


def test_the_first_file_of_a_part_is_chosen() -> None:
    files = ["train.csv", "data/train-00001.parquet", "data/train-00000.parquet", "data/test.parquet", "train.zip"]
    assert choose(files, None) == "data/train-00000.parquet"
    assert choose(files, "test") == "data/test.parquet"
    assert choose(files, "dev") is None
    assert choose(["all.jsonl.gz", "LICENSE.txt"], None) == "all.jsonl.gz"
    assert choose(["README.md", "load.py"], None) is None
