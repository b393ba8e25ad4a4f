"""The whole job on the bundled model, and what of it is not done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from workbench.build import build
from workbench.progress import Listener
from workbench.report import read_report
from workbench.request import BuildRequest

RECIPES = ("gguf-q4_k_m", "gguf-q8_0")


class Ear(Listener):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []

    def step(self, title: str) -> None:
        self.steps.append(title)

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(out: Path, **changes) -> Ear:
    ear = Ear()
    build(BuildRequest(**{"profile": "cpu", "recipes": RECIPES, "out": out, "limit": 2, **changes}), ear)
    return ear


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("store")
    first = run(out)
    assert "Record in MLflow" in first.steps
    return out


def test_the_report_holds_scores_and_conformance(store):
    report = read_report(store / "sqlcoder-nano" / "reports" / "cpu")
    assert [artifact.recipe for artifact in report.artifacts] == list(RECIPES)
    for artifact in report.artifacts:
        assert artifact.conformance["passed"]
        assert artifact.error is None
        assert artifact.sets[0].overall.total == 2
        assert {"weight_bytes", "decode_tokens_per_s"} <= {one.name for one in artifact.predictions}


def test_the_report_tells_when_and_by_which_command(store):
    report = read_report(store / "sqlcoder-nano" / "reports" / "cpu")
    assert datetime.fromisoformat(report.made_at).tzinfo is not None
    assert report.command.startswith("python -m workbench build --profile cpu --recipe gguf-q4_k_m --recipe gguf-q8_0")


def test_an_unchanged_build_does_nothing_and_loads_nothing_heavy(store):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from workbench.build import build\nfrom workbench.request import BuildRequest\n"
        f"build(BuildRequest('cpu', {RECIPES!r}, out=Path({str(store)!r}), limit=2))\n"
        "print([name for name in ('torch', 'transformers', 'mlflow', 'psycopg', 'xllamacpp') if name in sys.modules])"
    )
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_one_more_question_runs_the_engines_and_converts_nothing(store):
    ear = run(store, limit=3)
    assert ear.notes.count("unchanged, kept") == 2
    assert "unchanged, its answers and timings kept" not in ear.notes
    again = run(store, limit=3, recipes=(RECIPES[0],))
    assert "unchanged, its answers and timings kept" in again.notes


def test_more_beams_are_asked_anew_and_told(store):
    ear = run(store, beams=2, recipes=RECIPES[1:])
    assert not any("answers and timings kept" in note for note in ear.notes)
    folder = store / "sqlcoder-nano" / "reports" / "cpu"
    assert read_report(folder).beams == 2
    told = (folder / "predictions" / f"{RECIPES[1]}.heldout.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["beams"] for line in told] == [2, 2]


def test_a_damaged_artifact_is_noticed(store):
    (weights,) = (store / "sqlcoder-nano" / RECIPES[1]).glob("*.gguf")
    weights.write_bytes(weights.read_bytes()[:-1])
    ear = run(store, limit=3)
    assert ear.notes.count("unchanged, kept") == 1
    assert not any(step.startswith("Nothing has changed") for step in ear.steps)


def test_the_sql_of_what_flipped_is_told(store, tmp_path):
    run(store, limit=3, recipes=RECIPES[:1])
    folder = store / "sqlcoder-nano" / "reports" / "cpu"
    told = (folder / "predictions" / f"{RECIPES[0]}.heldout.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = {**json.loads(told[0]), "text": "SELECT 41 + 1"}
    reference = tmp_path / "reference.jsonl"
    reference.write_text("\n".join([json.dumps(wrong), *told[1:]]) + "\n")
    run(store, limit=3, recipes=RECIPES[:1], reference=(reference,))
    report = read_report(folder)
    (asked,) = report.flipped["heldout"].values()
    assert (asked["sql"], asked["verdict"], asked["gold"]) == (
        "SELECT 41 + 1",
        "incorrect",
        json.loads(told[0])["gold"],
    )
    (flip,) = report.artifacts[0].sets[0].flips["flipped"]
    assert (flip["variant"], flip["sql"]) == ("correct", json.loads(told[0])["sql"])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "gained by 1" in page
    assert "<del>41 + 1</del>" in page


def test_a_page_that_is_gone_is_made_again(store):
    page = store / "sqlcoder-nano" / "reports" / "cpu" / "report.html"
    run(store, limit=3)
    page.unlink()
    run(store, limit=3)
    assert page.is_file()


def test_again_means_again(store):
    run(store, limit=3)
    assert any(step.startswith("Nothing has changed") for step in run(store, limit=3).steps)
    assert "unchanged, its answers and timings kept" not in run(store, limit=3, again=True).notes


def test_one_artifacts_failure_is_a_line_in_the_report(store, tmp_path, monkeypatch):
    from workbench import stages
    from workbench.errors import WorkbenchError

    def fail(checkpoint, recipe, *rest):
        if recipe.name == RECIPES[1]:
            raise WorkbenchError("no kernel packs this layer")
        return make(checkpoint, recipe, *rest)

    make = stages.make_artifact
    monkeypatch.setattr(stages, "make_artifact", fail)
    run(tmp_path)
    good, bad = read_report(tmp_path / "sqlcoder-nano" / "reports" / "cpu").artifacts
    assert good.error is None
    assert bad.error == "no kernel packs this layer"
    assert "no kernel packs" in (tmp_path / "sqlcoder-nano" / "reports" / "cpu" / "report.md").read_text()


def test_two_builds_at_once_both_end_well(tmp_path):
    command = [sys.executable, "-m", "workbench", "build", "--profile", "cpu", "--recipe", RECIPES[0], "--limit", "1"]
    both = [
        subprocess.Popen(
            [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("another run is making" in text for text in said) == 1
    assert sum("Nothing has changed" in text for text in said) == 1
    record = json.loads((tmp_path / "sqlcoder-nano" / "reports" / "cpu" / "report.json").read_text())
    assert record["artifacts"][0]["conformance"]["passed"]
