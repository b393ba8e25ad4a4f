"""Calibration texts from the Hub: the real client against a local server that speaks its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub

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
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A data set of two configurations, with what else lies in such repositories."""
    folder = tmp_path / "repository"
    for name, text in (("raw/train-0-of-2", "one"), ("raw/train-1-of-2", "two"), ("raw/test", "three")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text(json.dumps({"text": text}))
    (folder / "other").mkdir()
    (folder / "other" / "train.csv").write_text("text\nfour\n")
    for name in ("README.md", "dataset_infos.json", "make_it.py", "LICENSE.txt"):
        (folder / name).write_text("not asked for")
    server = Hub(folder, datasets=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def load(hub: Hub, tmp_path: Path, *sources: str, **environment: str) -> list[list[object]]:
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    settings |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    kept = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    command = [sys.executable, "-c", LOAD, *sources]
    done = subprocess.run(command, capture_output=True, text=True, env=kept | settings, timeout=120, check=True)
    assert SECRET not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_wanted_part_is_fetched_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    found = load(hub, tmp_path, "org/model", "hub:org/model:raw/test", "org/model@v1:other")
    assert found == [
        [f"org/model@{COMMIT}/raw/train-0-of-2.jsonl", ["one"]],
        [f"org/model@{COMMIT}/raw/test.jsonl", ["three"]],
        [f"org/model@{COMMIT}/other/train.csv", ["four"]],
    ]
    asked = {request.name for request in hub.requests if not request.name.startswith("/api/")}
    assert asked == {"raw/train-0-of-2.jsonl", "raw/test.jsonl", "other/train.csv"}
    assert load(hub, tmp_path, "org/model", HF_HUB_OFFLINE="1") == found[:1]  # what was fetched is found again
    hub.server_close()
    assert load(hub, tmp_path, "org/model", HF_ENDPOINT="http://127.0.0.1:9") == found[:1]


def test_what_the_hub_refuses_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    hub.token = SECRET
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
