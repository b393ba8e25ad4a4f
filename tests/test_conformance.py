"""Every format and architecture computes what its source computes; what does not is noticed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from made_artifacts import made

from workbench import catalog
from workbench.artifact import Artifact, open_artifact
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.conformance import (
    TEXTS,
    Subject,
    check,
    conformance_key,
    golden_prompts,
    is_checked,
    relative_error,
    summary,
)  # fmt: skip
from workbench.evidence import Evidence, decode_logits, encode_logits, gather
from workbench.runtimes.base import LoadOptions

# One recipe of each way to store weights; the others of a format differ in numbers only.
RECIPES = (
    "fp16",
    "bf16",
    "int8",
    "gptq-4bit",
    "gguf-f16",
    "gguf-q8_0",
    "gguf-q4_k_m",
    "mlx-4bit",
    "onnx-fp16",
    "onnx-int4",
)
ARCHITECTURES = ("gpt_bigcode", "llama", "mistral")
ENGINE = "engine 1"


def evidence_of(artifact: Artifact, checkpoint: Checkpoint, prompts: int = 2) -> Evidence:
    runtime = catalog.get_runtime(catalog.get_recipe(artifact.name).runtime)
    with runtime.load(artifact, LoadOptions(context=1024, threads=1)) as session:
        return gather(session, TEXTS, golden_prompts(checkpoint)[:prompts])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_package_computes_what_its_source_computes(recipe, architecture, tiny_checkpoint, tmp_path):
    checkpoint = open_checkpoint(str(tiny_checkpoint(architecture)))
    checkpoint = dataclasses.replace(checkpoint, prompt_name="nano")
    artifact = made(recipe, checkpoint, tmp_path / "a")
    (checked,) = check(checkpoint, [Subject(artifact, ENGINE, evidence_of(artifact, checkpoint))])
    record = checked.manifest.conformance
    assert record["passed"], json.dumps(record, indent=1)
    assert record["greedy"]["tokens"] > 20
    assert open_artifact(tmp_path / "a").manifest == checked.manifest
    assert is_checked(checked, ENGINE)
    assert not is_checked(checked, "engine 2")
    assert "conforms" in summary(record)


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return open_checkpoint("sqlcoder-nano")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", catalog.recipe_names())
def test_every_recipe_of_the_bundled_model(recipe, nano, tmp_path):
    artifact = made(recipe, nano, tmp_path / "a")
    (checked,) = check(nano, [Subject(artifact, ENGINE, evidence_of(artifact, nano, prompts=4))])
    assert checked.manifest.conformance["passed"], json.dumps(checked.manifest.conformance, indent=1)


@pytest.fixture(scope="module")
def right(nano, tmp_path_factory) -> tuple[Artifact, Evidence]:
    artifact = made("fp16", nano, tmp_path_factory.mktemp("right") / "fp16")
    return artifact, evidence_of(artifact, nano)


def outcome(nano: Checkpoint, right: tuple[Artifact, Evidence], **changes) -> dict:
    artifact, evidence = right
    (checked,) = check(nano, [Subject(artifact, ENGINE, dataclasses.replace(evidence, **changes))])
    return checked.manifest.conformance


def test_the_right_thing_passes(nano, right):
    record = outcome(nano, right)
    assert record["passed"]
    assert record["greedy"]["equal"] == record["greedy"]["tokens"]
    assert record["logits"]["same_first_token"] == 2


def test_another_tokenizer_is_noticed(nano, right):
    tokens = [list(ids) for ids in right[1].tokens]
    tokens[1][3] += 1
    record = outcome(nano, right, tokens=tokens)
    assert not record["passed"]
    assert record["tokenizer"]["differing"] == [TEXTS[1]]
    assert "DOES NOT CONFORM" in summary(record)


def test_text_that_does_not_come_back_is_noticed(nano, right):
    back = [right[1].texts_back[0].replace("1234567", "123456"), *right[1].texts_back[1:]]
    assert not outcome(nano, right, texts_back=back)["passed"]


def test_other_logits_are_noticed_and_a_constant_is_not(nano, right):
    values = [decode_logits(text) for text in right[1].logits]
    assert outcome(nano, right, logits=[encode_logits(one + 3.0) for one in values])["passed"]
    noise = np.random.default_rng(0).normal(size=values[0].shape).astype(np.float32)
    assert not outcome(nano, right, logits=[encode_logits(one + 0.1 * noise) for one in values])["passed"]


def test_another_answer_is_noticed(nano, right):
    first, *others = right[1].golden_tokens
    record = outcome(nano, right, golden_tokens=[[*first[:5], first[5] + 1, *first[6:]], *others])
    assert not record["passed"]
    assert record["greedy"]["within_tolerance"] < record["greedy"]["tokens"]


def test_the_key_tells_engines_and_artifacts_apart(right):
    artifact = right[0]
    other = Artifact(artifact.path, dataclasses.replace(artifact.manifest, build_key="other"))
    keys = {conformance_key(artifact, "a 1"), conformance_key(artifact, "a 2"), conformance_key(other, "a 1")}
    assert len(keys) == 3


def test_errors_are_relative_to_the_centred_vector():
    expected = np.array([0.0, 1.0, 2.0], np.float32)
    assert relative_error(expected + 5, expected) == pytest.approx(0, abs=1e-6)
    assert relative_error(expected * 1.1, expected) == pytest.approx(0.1, rel=1e-5)


def test_golden_prompts_are_the_models_own(nano):
    prompts = golden_prompts(nano)
    assert len(set(prompts)) == 4
    assert all(prompt.endswith("```sql\n") for prompt in prompts)
