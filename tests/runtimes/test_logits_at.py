"""Every engine tells the logits of given tokens: those of transformers' plain forward pass over the whole text."""

from __future__ import annotations

import numpy as np
import pytest
from made_artifacts import made

from workbench import catalog
from workbench.checkpoint import open_checkpoint
from workbench.runtimes import llama_cpp
from workbench.runtimes.base import LoadOptions, Reading

# The largest error of a log-probability that the recipe's rounding makes on these random weights.
RECIPES = {"fp16": 1e-4, "gguf-f16": 0.05, "mlx-8bit": 0.1, "onnx-fp16": 1e-4}
ARCHITECTURES = ("gpt_bigcode", "mistral")
DRAW = np.random.default_rng(3)
SCHEMA = DRAW.integers(1, 500, 150).tolist()
# Two that share a schema, one that starts another and ends in one row, one that shares nothing.
SEQUENCES = sorted([*SCHEMA, *DRAW.integers(1, 500, 20).tolist()] for _ in range(2))
SEQUENCES += [SEQUENCES[1][:140], [7, 8, 9]]
FIRST = [155, 160, 139, 1]
READINGS = [Reading(ids, at) for ids, at in zip(SEQUENCES, FIRST, strict=True)]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    return log_softmax(logits.astype(np.float64), axis=-1)


def as_log_probabilities(rows: np.ndarray) -> np.ndarray:
    """Rows as ``Session.logits_at`` gives them: whole ones are logits, others log-probabilities already."""
    return log_probabilities(rows) if np.isfinite(rows).all() else rows.astype(np.float64)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def source(request, tiny_checkpoint):
    """A random model's folder and what it expects in each place."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tiny_checkpoint(request.param)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        whole = [model(torch.tensor([ids])).logits[0].numpy() for ids in SEQUENCES]
    return folder, [log_probabilities(rows[at - 1 : -1]) for rows, at in zip(whole, FIRST, strict=True)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_rows_are_those_of_the_plain_forward_pass(recipe, source, tmp_path):
    folder, expected = source
    artifact = made(recipe, open_checkpoint(str(folder)), tmp_path / "a")
    runtime = catalog.get_runtime(catalog.get_recipe(recipe).runtime)
    with runtime.load(artifact, LoadOptions(context=512, threads=1)) as session:
        found = list(session.logits_at(READINGS))
        again = list(session.logits_at(READINGS[2:]))
    for ids, at, rows, right in zip(SEQUENCES, FIRST, found, expected, strict=True):
        assert rows.dtype == np.float32
        assert rows.shape == (len(ids) - at, 512)
        told = np.isfinite(rows)
        assert told.all() or recipe == "gguf-f16"
        assert told.sum(axis=1).min() >= llama_cpp.TOLD
        assert np.abs(as_log_probabilities(rows) - right)[told].max() < RECIPES[recipe]
    for rows, earlier in zip(again, found[2:], strict=True):
        # llama.cpp adds in another order for a lone token than for several at a time
        both = np.isfinite(rows) & np.isfinite(earlier)
        change = np.abs(as_log_probabilities(rows)[both] - as_log_probabilities(earlier)[both]).max()
        assert change < (0.01 if recipe == "gguf-f16" else 1e-4)


def test_llama_cpp_tells_the_token_that_is_there_where_it_must(tiny_checkpoint, tmp_path, monkeypatch):
    artifact = made("gguf-f16", open_checkpoint(str(tiny_checkpoint("gpt_bigcode"))), tmp_path / "a")
    ids = SEQUENCES[0][:24]
    with llama_cpp.RUNTIME.load(artifact, LoadOptions(context=512, threads=1)) as session:
        sure, few = session.logits_at([Reading(ids, 4), Reading(ids, 4, own=False)])
        monkeypatch.setattr(llama_cpp, "TOLD", 512)
        (whole,) = session.logits_at([Reading(ids, 4)])
    told = np.isfinite(sure)
    assert told[range(20), ids[4:]].all()
    assert set(told.sum(axis=1).tolist()) == {256, 512}
    assert set(np.isfinite(few).sum(axis=1).tolist()) == {256}
    best = np.argsort(-whole, axis=1)[:, :250]  # near the end a change of the last bits moves tokens in and out
    for rows in (sure, few):
        assert np.isfinite(np.take_along_axis(rows, best, axis=1)).all()
        np.testing.assert_allclose(rows[np.isfinite(rows)], whole[np.isfinite(rows)], atol=0.01)
