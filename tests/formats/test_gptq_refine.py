"""Refined layers: nearer to the float model than plain GPTQ's, on texts that were not calibrated on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from workbench.batches import tokenize
from workbench.calibration import load_calibration
from workbench.catalog import get_recipe
from workbench.checkpoint import open_checkpoint
from workbench.errors import WorkbenchError
from workbench.evals.divergence import kl_nats
from workbench.formats.base import ConversionContext
from workbench.formats.gptq import FORMAT, GptqOptions
from workbench.journal import Journal
from workbench.kernels import distillation
from workbench.runtimes._gptq import dequantized_state, load_dequantized

CALIBRATED, HELD_OUT = 12, 3


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Of the bundled training questions: some to calibrate on, and others."""
    return load_calibration(None, open_checkpoint("sqlcoder-nano").prompt).texts[:: 256 // (CALIBRATED + HELD_OUT)]


def logits(folder: Path, sequences: list[list[int]], quantized: bool) -> list[np.ndarray]:
    from transformers import AutoModelForCausalLM

    if quantized:
        model = load_dequantized(folder, torch.float32)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].numpy() for ids in sequences]


def divergence(texts: list[str], out: Path, options: dict[str, Any]) -> float:
    """Mean KL divergence in nats per token on the texts kept apart."""
    checkpoint = open_checkpoint("sqlcoder-nano")
    out.mkdir()
    FORMAT.convert(checkpoint, GptqOptions.model_validate(options), out, ConversionContext(texts[:CALIBRATED]))
    held = tokenize(checkpoint, texts[-HELD_OUT:], HELD_OUT, 1024)
    pairs = zip(logits(checkpoint.path, held, False), logits(out, held, True), strict=True)
    return float(np.mean([kl_nats(p, q) for expected, found in pairs for p, q in zip(expected, found, strict=True)]))


def test_nearer_to_the_float_model_on_other_texts(texts: list[str], tmp_path: Path) -> None:
    plain = divergence(texts, tmp_path / "plain", {"bits": 3})
    fitted = get_recipe("gptq-3bit-fitted").options
    assert divergence(texts, tmp_path / "fitted", fitted) < 0.8 * plain


def tuned(
    source: Path, out: Path, texts: list[str], threads: int, **given: Any
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest's details and the files; their digests are looked at on the way."""
    out.mkdir(exist_ok=True)
    context = ConversionContext(texts, threads=threads, journal=Journal(out.with_suffix(".jsonl"), "key"), **given)
    options = GptqOptions(bits=2, group_size=32, refine="model", calibration_tokens=32)
    details = FORMAT.convert(open_checkpoint(str(source)), options, out, context)
    files = {file.name: file.read_bytes() for file in sorted(out.glob("*.*")) if file.is_file()}
    for name, digest in context.digests.items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    return details, files


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama"])
def test_a_tuned_model_is_nearer_and_the_same_for_any_threads_and_after_a_kill(
    architecture, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(distillation, "PIECE_TOKENS", 64)  # so that few texts make many steps
    source = tiny_checkpoint(architecture)
    texts = [f"List city {n} with {n * 37 % 101} people.\nSELECT name FROM city LIMIT {n};" for n in range(48)]
    details, files = tuned(source, tmp_path / "one", texts, 1)
    assert details["tuning"]["kl_after"] < details["tuning"]["kl_before"]
    assert tuned(source, tmp_path / "two", texts, 2) == (details, files)

    def stop(done: int, total: int, what: str) -> None:
        if what == "passes":
            raise Stopped

    with pytest.raises(Stopped):
        tuned(source, tmp_path / "stopped", texts, 1, progress=stop)
    assert tuned(source, tmp_path / "stopped", texts, 2) == (details, files)
    layers = GptqOptions(bits=2, group_size=32, refine="layers", calibration_tokens=32)
    (tmp_path / "layers").mkdir()
    FORMAT.convert(open_checkpoint(str(source)), layers, tmp_path / "layers", ConversionContext(texts, threads=1))
    before, after = (dequantized_state(tmp_path / name, torch.float32) for name in ("layers", "one"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(values.ndim == 2 for values in (before[name] for name in changed))
    assert not any("embed" in name or "wte" in name or "lm_head" in name for name in changed)


def test_tuning_is_refused_where_texts_or_memory_are_too_few(tiny_checkpoint, tmp_path, monkeypatch):
    source = tiny_checkpoint("llama")
    with pytest.raises(WorkbenchError, match="16 calibration texts"):
        tuned(source, tmp_path / "few", ["SELECT 1;"] * 3, 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 20))
    with pytest.raises(WorkbenchError, match="refine: layers"):
        tuned(source, tmp_path / "small", ["SELECT 1;"] * 30, 1)


def test_what_it_takes_is_predicted_beforehand():
    checkpoint = open_checkpoint("sqlcoder-nano")
    refined = ("none", "layers", "model")
    plain, layers, model = (FORMAT.build_work(checkpoint, GptqOptions(refine=one), 2) for one in refined)
    assert 1.5 * plain.core_s < layers.core_s < model.core_s
    assert plain.ram_bytes < layers.ram_bytes <= model.ram_bytes
