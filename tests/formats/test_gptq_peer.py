"""An independent reader, gptqmodel, must see the weights we see; it lives in an environment of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workbench.checkpoint import open_checkpoint
from workbench.formats.base import ConversionContext
from workbench.formats.gptq import FORMAT, GptqOptions

PYTHON = "WORKBENCH_GPTQMODEL_PYTHON"
READER = """
import sys
import numpy as np
import torch
from gptqmodel import BACKEND, GPTQModel

folder, ids, out = sys.argv[1:]
model = GPTQModel.load(folder, device="cpu", backend=BACKEND.TORCH, dtype=torch.float16).model
with torch.inference_mode():
    read = {"logits": model(input_ids=torch.tensor(np.load(ids))).logits.float().numpy()}
    for name, module in model.named_modules():
        if hasattr(module, "dequantize_weight"):
            read[name] = module.dequantize_weight().t().numpy()
np.savez(out, **read)
"""
TEXTS = [f"SELECT name, {n} FROM city WHERE size > {n * n} ORDER BY size;" for n in range(24)]


def read_with_peer(folder: Path, ids: np.ndarray, scratch: Path) -> dict[str, np.ndarray]:
    np.save(scratch / "ids.npy", ids)
    subprocess.run(
        [os.environ[PYTHON], "-c", READER, str(folder), str(scratch / "ids.npy"), str(scratch / "peer.npz")],
        check=True,
        env={**os.environ, "GPTQMODEL_CPU_WORKERS": "2"},
    )
    return dict(np.load(scratch / "peer.npz"))


@pytest.mark.peer
@pytest.mark.skipif(PYTHON not in os.environ, reason=f"set {PYTHON} to the Python of an environment with gptqmodel")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"desc_act": True, "group_size": 64},
        {"bits": 8},
        {"bits": 3},
        {"bits": 2, "desc_act": True},
    ],
    ids=str,
)
def test_gptqmodel_computes_our_logits(
    options: dict[str, object], tiny_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    import torch

    from workbench.runtimes._gptq import load_dequantized

    out = tmp_path / "artifact"
    out.mkdir()
    checkpoint = open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))
    FORMAT.convert(checkpoint, GptqOptions.model_validate(options), out, ConversionContext(TEXTS))
    ids = np.random.default_rng(0).integers(1, 200, (2, 40))

    theirs = read_with_peer(out, ids, tmp_path)
    model = load_dequantized(out, torch.float32)
    with torch.inference_mode():
        ours = model(input_ids=torch.tensor(ids)).logits.numpy()

    error = np.linalg.norm(theirs.pop("logits") - ours) / np.linalg.norm(ours)
    print(f"relative logit error between gptqmodel in float16 and our reader in float32: {error:.2e}")
    assert error < 5e-3
    assert len(theirs) == 8
    for name, weight in theirs.items():
        mine = model.get_parameter(f"{name}.weight").detach().half().numpy()
        np.testing.assert_array_equal(weight, mine, err_msg=name)
