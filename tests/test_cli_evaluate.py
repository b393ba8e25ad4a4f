"""``workbench evaluate`` and ``compare --published`` as a user types them; the server may be slow, or not there."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from openai_server import Fault, serving

KEY = "sk-very-secret"


@pytest.fixture
def server():
    with serving(lambda prompt: "SELECT 1") as served:
        yield served


def start(*arguments, **environment):
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a background shell ignores it
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed, env={**os.environ, **environment},
    )  # fmt: skip


def run(*arguments, **environment):
    process = start(*arguments, **environment)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def command(server, folder, *more):
    return ["evaluate", "--endpoint", server.address, "--model", "sqlcoder-nano", "--out", folder, "--limit", 10, *more]


def test_help_tells_both_ways():
    code, output, _ = run("evaluate", "--help")
    assert code == 0
    for part in ("[ARTIFACT]", "--endpoint", "--reference", "WORKBENCH_API_KEY"):
        assert part in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either an artifact's folder or --endpoint"),
        (["nowhere"], "nowhere is no artifact"),
        (["--endpoint", "localhost:1", "--model", "m"], "did you mean http://localhost:1?"),
        (["--endpoint", "http://127.0.0.1:1", "--model", "m"], "nothing listens at http://127.0.0.1:1/v1"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, tmp_path):
    code, _, errors = run("evaluate", *arguments, "--limit", 2, "--out", tmp_path / "out")
    assert code == 2
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert words in errors
    assert not (tmp_path / "out" / "predictions.jsonl").exists()


def test_a_wrong_key_is_never_shown(server, tmp_path):
    server.key = "another"
    code, output, errors = run(*command(server, tmp_path / "out"), WORKBENCH_API_KEY=KEY)
    assert code == 2
    assert "refuses the key in WORKBENCH_API_KEY" in errors
    assert KEY not in output + errors


def test_ctrl_c_keeps_what_was_answered_and_the_same_command_goes_on(server, tmp_path):
    server.faults = [*[Fault(200)] * 5, *[Fault(200, sleep_s=30)] * 4]
    path = tmp_path / "out" / "predictions.jsonl"
    process = start(*command(server, tmp_path / "out"))
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") == 5) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stopped = time.monotonic()
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - stopped < 10  # the four that are under way are not waited for
    assert "5 of 20 answers are kept" in output
    assert "Traceback" not in errors
    assert path.read_bytes().count(b"\n") == 5
    asked = len(server.prompts)
    code, output, errors = run(*command(server, tmp_path / "out", "--json"))
    assert code == 0, errors
    assert len(server.prompts) == asked + 15
    record = json.loads(output)
    assert record["notes"] == ["5 answers are there from before, 15 to ask"]
    assert [one["questions"] for one in record["sets"]] == [10, 10]


def test_published_figures_are_shown_without_a_build_too(tmp_path):
    code, output, _ = run("compare", "--published", "--out", tmp_path)
    assert code == 0
    assert "published, sql-eval, 2023-08, n=175" in output
    assert "not measured here" in output
