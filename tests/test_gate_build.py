"""Gates in a real build: what answers wrong on purpose is refuted, marked, not recommended, and fails a strict build.

No engine runs: the mock runtime stands in, and the reference's answers are the golds in a file. So this takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.artifact import open_artifact
from workbench.asking import prompts
from workbench.build import build
from workbench.checkpoint import open_checkpoint
from workbench.errors import WorkbenchError
from workbench.nano import MODEL_NAME
from workbench.predictions import Prediction, digest_of, write_predictions
from workbench.progress import Listener
from workbench.report import read_report
from workbench.request import BuildRequest, question_sets

RECIPE = """
name: {name}
description: Answers nothing right.
format: gguf
runtime: mock
backends: [cpu]
options: {{type: q8_0}}
{accept}
"""


class Ear(Listener):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, title: str) -> None:
        self.steps.append(title)


@pytest.fixture(scope="module")
def golds(tmp_path_factory) -> Path:
    """The answers of a model that is always right, from a machine far away."""
    checkpoint, asked = open_checkpoint(MODEL_NAME), question_sets()[0]
    path = tmp_path_factory.mktemp("far") / "fp16.jsonl"
    write_predictions(
        path,
        [
            Prediction(asked.name, question.id, question.query, digest_of(prompt))
            for question, prompt in zip(asked.questions, prompts(checkpoint, asked), strict=True)
        ],
    )
    return path


def recipe(folder: Path, name: str, accept: str = "accept: {sql_accuracy_loss_max: 2.0}") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(name=name, accept=accept))
    return str(path)


def request(folder: Path, golds: Path, accept: str = "sql_accuracy_loss_max: 2.0", **changes) -> BuildRequest:
    recipes = (recipe(folder, "wrong", f"accept: {{{accept}}}"),)
    values = {"profile": "cpu", "recipes": recipes, "out": folder / "store", "limit": 24, "reference": (golds,)}
    return BuildRequest(**{**values, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, golds) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    build(request(folder, golds))
    return folder


def manifest(folder: Path, name: str = "wrong"):
    return open_artifact(folder / "store" / MODEL_NAME / name).manifest


def test_what_answers_wrong_is_refuted_marked_and_not_recommended(folder):
    report = read_report(folder / "store" / MODEL_NAME / "reports" / "cpu")
    (wrong,) = report.artifacts
    assert wrong.acceptance["verdict"] == "refuted"
    assert (wrong.acceptance["questions"], wrong.acceptance["right_to_wrong"]) == (24, 24)
    assert wrong.acceptance["reference"]["name"] == "fp16.jsonl"
    assert wrong.sets[0].flips["groups"]
    assert len(wrong.sets[0].flips["flipped"]) == 24
    assert wrong.sets[1].flips is None  # the file answers the first set only
    assert report.reference["kind"] == "file"
    assert report.recommended is None
    assert manifest(folder).acceptance == wrong.acceptance
    page = (folder / "store" / MODEL_NAME / "reports" / "cpu" / "report.md").read_text()
    for part in ("## Accuracy gates", "refuted", "REFUTED", "## Flips on heldout against `fp16.jsonl`"):
        assert part in page


def test_an_unchanged_build_keeps_the_mark_and_another_reference_is_a_change(folder, golds):
    before = manifest(folder)
    ear = Ear()
    build(request(folder, golds), ear)
    assert any(step.startswith("Nothing has changed") for step in ear.steps)
    assert manifest(folder) == before
    golds_again = golds.with_name("other.jsonl")
    golds_again.write_text("\n".join(reversed(golds.read_text().splitlines())) + "\n")
    ear = Ear()
    build(request(folder, golds_again), ear)
    assert not any(step.startswith("Nothing has changed") for step in ear.steps)
    assert manifest(folder).acceptance["reference"]["name"] == "other.jsonl"


def test_another_limit_judges_again_and_converts_nothing(folder, golds):
    report = build(request(folder, golds, "sql_accuracy_loss_max: 100")).report
    assert report.artifacts[0].acceptance["verdict"] == "proved"
    assert report.artifacts[0].reused
    assert manifest(folder).acceptance["loss_max_points"] == 100


def test_without_a_reference_nothing_is_judged_and_the_reason_says_how_to_get_one(folder, golds):
    report = build(request(folder, golds, "sql_accuracy_loss_max: 100", reference=(), limit=2)).report
    assert report.artifacts[0].acceptance["verdict"] == "not judged"
    assert "--reference" in report.artifacts[0].acceptance["reason"]
    assert (report.reference, report.noise) == ({}, {})
    assert manifest(folder).acceptance["verdict"] == "proved"  # by the build before: silence takes nothing back


def test_answers_to_another_prompt_are_refused_before_anything_is_made(tmp_path, golds):
    with pytest.raises(WorkbenchError, match="another prompt or schema"):
        build(request(tmp_path, golds, prompt="v1"))
    assert not (tmp_path / "store" / MODEL_NAME / "wrong").exists()


def command(*arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_TRACKING_URI": "", "COLUMNS": "200"},
    )


def test_a_strict_build_exits_with_three_after_everything_was_written(folder, golds):
    arguments = ["build", "--profile", "cpu", "--recipe", recipe(folder, "wrong"), "--out", folder / "store"]
    arguments += ["--limit", 12, "--reference", golds]
    done = command(*arguments, "--strict")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: wrong: refuted by the accuracy gate")
    assert "REFUTED" in done.stdout
    record = json.loads((folder / "store" / MODEL_NAME / "reports" / "cpu" / "report.json").read_text())
    assert record["artifacts"][0]["acceptance"]["verdict"] == "refuted"
    again = command(*arguments, "--strict")
    assert again.returncode == 3
    assert "Nothing has changed" in again.stdout
    assert command(*arguments).returncode == 0


def test_what_cannot_be_judged_does_not_fail_a_strict_build_but_is_told(folder):
    same, other = (folder / f"{name}.yaml" for name in ("same", "other"))
    text = RECIPE.format(name="same", accept="accept: {sql_accuracy_loss_max: 2.0}")
    same.write_text(text.replace("gguf", "fp16").replace("{type: q8_0}", "{}"))
    other.write_text(text.replace("same", "other"))
    arguments = ["--recipe", same, "--recipe", other, "--out", folder / "store", "--limit", 1]
    done = command("build", "--profile", "cpu", *arguments, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: same: not judged: it is the reference itself" in done.stderr
    assert "note: other: not judged: the reference answered nothing right" in done.stderr
    assert "a second time" in done.stdout
    assert "Noise floor: same run twice, 0 of 1 answers" in done.stdout
