"""``workbench benchmark`` as users call it, on artifacts of the mock runtime."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from benchmarked import mock_artifact
from click.testing import CliRunner

from workbench.cli import cli

TIMES = ["--workload", "question", "--processes", "3", "--threads", "1"]


@pytest.fixture
def run(tmp_path):
    def call(*arguments, code=0):
        command = ["benchmark", *map(str, arguments), "--out", str(tmp_path / "store")]
        outcome = CliRunner().invoke(cli, command)
        if code == 0:
            assert outcome.exit_code == 0, outcome.output
        return outcome

    return call


def test_tables_file_and_comparison(run, tmp_path):
    fast = mock_artifact(tmp_path / "made" / "fast", noise=0.002)
    slow = mock_artifact(tmp_path / "made" / "slow", noise=0.002, token_s=0.002)
    first = run(fast, slow, *TIMES, "--json", tmp_path / "1.json").output
    for text in ("512+64", "m fast (cpu)", "A/A", "question_s", "Beside m fast: 3 differences beyond the noise"):
        assert text in first
    record = json.loads((tmp_path / "1.json").read_text())
    assert record["workbench"]["schema_version"] == 1
    assert record["workbench"]["tool_versions"]["numpy"]
    (kept,) = (tmp_path / "store" / "m" / "benchmarks").glob("*.json")
    assert kept.read_text() == (tmp_path / "1.json").read_text()
    ended = datetime.fromtimestamp((tmp_path / "1.json").stat().st_mtime, UTC)
    assert datetime.fromisoformat(record["datetime"]) < ended - timedelta(seconds=record["workbench"]["seconds"] / 2)
    second = run(slow, *TIMES, "--against", tmp_path / "1.json").output
    assert "no difference beyond the noise in 5 comparisons" in second
    assert "the machine's own speed moved by" in second
    assert f"File: {tmp_path / 'store' / 'm' / 'benchmarks'}" in second


def test_mistakes_are_told_before_anything_is_timed(run, tmp_path):
    made = mock_artifact(tmp_path / "made" / "one")
    for wrong, text in (
        ((tmp_path,), "is no artifact"),
        ((made, "--workload", "qestion"), "did you mean 'question'"),
        ((made, "--against", tmp_path / "absent.json"), "there are no benchmarks at"),
        ((made, "--json", made / "manifest.json" / "x.json"), "cannot be written"),
        ((made, "--json", made), "is a folder; give --json"),
    ):
        outcome = run(*wrong, code=1)
        assert text in str(outcome.exception)
        assert "\n" not in str(outcome.exception)
    assert not list((tmp_path / "store").rglob("*.json"))
