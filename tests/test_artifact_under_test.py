"""An artifact asked in a real child process; the engine in it is the mock runtime."""

import json

import pytest

from workbench.artifact import Manifest, open_artifact, seal
from workbench.artifact_under_test import ArtifactUnderTest
from workbench.errors import ArtifactError, WorkbenchError
from workbench.progress import SILENT
from workbench.prompt import V3
from workbench.runtimes.base import Decoding, Generation


@pytest.fixture
def make(tmp_path):
    def make_artifact(prompt="nano", runtime="mock", weight_bytes=1, **settings):
        (tmp_path / "mock.json").write_text(json.dumps(settings))
        recipe = {"runtime": runtime}
        seal(
            tmp_path, Manifest("q4", "model", "llama", prompt, "mock", recipe, {}, (), weight_bytes, 1, 8.0, {}, "key")
        )
        return open_artifact(tmp_path)

    return make_artifact


def test_answers_are_told_with_their_places_and_tokens(make):
    told = {}
    model = ArtifactUnderTest(make(answer="SELECT 2"))
    model.answer(["one", "another"], Decoding(("```",), 300), told.__setitem__, SILENT)
    assert told == dict.fromkeys((0, 1), Generation("SELECT 2", 0, 8, True, tuple(b"SELECT 2")))


def test_it_says_what_it_is(make):
    model = ArtifactUnderTest(make())
    assert (model.name, model.prompt.name, model.weights()) == ("model q4", "nano", {"build_key": "key"})
    assert {"artifact", "device", "machine"} == set(model.facts())
    assert ArtifactUnderTest(make(), V3).prompt is V3


def test_a_prompt_nobody_knows_is_named(make):
    with pytest.raises(ArtifactError, match="made for the prompt 'v9'; name another with --prompt"):
        ArtifactUnderTest(make(prompt="v9"))


def test_an_engine_that_refuses_says_why(make):
    with pytest.raises(WorkbenchError, match="no such tensor"):
        ArtifactUnderTest(make(refuse="no such tensor")).answer(["one"], Decoding(), dict().__setitem__, SILENT)


def test_weights_larger_than_the_memory_are_not_loaded(make):
    model = ArtifactUnderTest(make(runtime="transformers", weight_bytes=1 << 50))
    if model.facts()["device"] == "cpu":
        with pytest.raises(WorkbenchError, match="run it on a larger machine"):
            model.answer(["one"], Decoding(), dict().__setitem__, SILENT)
