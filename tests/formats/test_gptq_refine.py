"""Refined layers: nearer to the float model than plain GPTQ's, on texts that were not calibrated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.batches import tokenize
from workbench.calibration import load_calibration
from workbench.catalog import get_recipe
from workbench.checkpoint import open_checkpoint
from workbench.evals.divergence import kl_nats
from workbench.formats.base import ConversionContext
from workbench.formats.gptq import FORMAT, GptqOptions
from workbench.runtimes._gptq import load_dequantized

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
