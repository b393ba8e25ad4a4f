"""The stage of divergences on the bundled model: the reference first, what is kept, and what is said where none is."""

from __future__ import annotations

import pytest

from workbench import divergences
from workbench.divergences import SOURCE, diverge_all, summary, with_divergences
from workbench.errors import WorkbenchError
from workbench.progress import SILENT
from workbench.report import ArtifactReport
from workbench.request import BuildRequest
from workbench.stages import convert_all
from workbench.trial import TrialResult
from workbench.work import Work, prepare

RECIPES = ("fp16", "gguf-q8_0", "gguf-q2_k")
RAN = TrialResult([], [], 0, 0.0, 0.0)  # the stage asks only whether an engine ran


def work(out, **changes) -> Work:
    return prepare(BuildRequest("cpu", **{"recipes": RECIPES, "out": out, "divergence": 6, **changes}), SILENT)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def told(out):
    one = work(out)
    return diverge_all(one, convert_all(one), dict.fromkeys(RECIPES, RAN))


def kl(record) -> float:
    return record["answers"]["kl_nats"]["value"]


def test_fewer_bits_lie_farther_away(told):
    assert {record["reference"] for record in told.values()} == {"fp16"}
    assert kl(told["fp16"]) < 1e-9 < kl(told["gguf-q8_0"]) < 0.01 < kl(told["gguf-q2_k"])
    for record in told.values():
        assert record["answers"]["questions"] == 6
        assert record["answers"]["tokens"] > 6 * 10
        assert record["answers/heldout"]["questions"] + record["answers/unseen"]["questions"] == 6
        assert record["answers"]["perplexity"] > 1
    assert "KL" in summary(told["fp16"])


def test_an_unchanged_build_asks_no_engine(told, out, monkeypatch):
    def refuse(*_):
        raise AssertionError("an engine was asked")

    monkeypatch.setattr(divergences, "run_trial", refuse)
    one = work(out)
    assert diverge_all(one, convert_all(one), dict.fromkeys(RECIPES, RAN)) == told
    fewer = work(out, divergence=0)
    assert diverge_all(fewer, convert_all(fewer), dict.fromkeys(RECIPES, RAN)) == {}


def test_without_a_16_bit_artifact_the_source_is_the_reference(told, out):
    """It computes the same, so the figures are the same; another reference takes the old one's place on disk."""
    one = work(out)
    trials = {**dict.fromkeys(RECIPES, RAN), "fp16": WorkbenchError("does not fit the memory")}
    alone = diverge_all(one, convert_all(one), trials)
    assert alone.keys() == {"gguf-q8_0", "gguf-q2_k"}
    for name, record in alone.items():
        assert record["reference"] == SOURCE
        assert kl(record) == pytest.approx(kl(told[name]), rel=1e-3)
    assert len(list((out / "sqlcoder-nano" / "steps").glob("rows-cpu-*.npy"))) == 1


def test_a_large_source_is_asked_fewer_questions(out, monkeypatch):
    monkeypatch.setattr(divergences, "SOURCE_OPERATIONS", 2 * 5e6 * 1500)
    one = work(out, recipes=("gguf-q8_0",))
    record = diverge_all(one, convert_all(one), {"gguf-q8_0": RAN})["gguf-q8_0"]
    assert 2 <= record["answers"]["questions"] < 6


def test_what_cannot_be_compared_says_why(out, monkeypatch):
    def refuse(*_):
        raise WorkbenchError("the engine died")

    one = work(out, again=True)
    made = convert_all(one)
    monkeypatch.setattr(divergences, "run_trial", refuse)
    told = diverge_all(one, made, dict.fromkeys(RECIPES, RAN))
    assert told["gguf-q8_0"] == {"missing": "no reference: the engine died"}
    (report,) = with_divergences([ArtifactReport("gguf-q8_0", "p", "r", "cpu", notes=("a note",))], told)
    assert report.notes == ("a note", "no divergence: no reference: the engine died")
    assert "not compared" in summary(report.divergence)
