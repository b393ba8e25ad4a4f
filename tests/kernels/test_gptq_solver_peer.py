"""The GPTQ solver beside gptqmodel's and llmcompressor's, each in an environment of its own.

With the same settings they do the same arithmetic, except that their scales are not rounded to float16 as they will be
stored. So the weights are made such that static scales are powers of two, and the codes must be the same but for values
on the edge between two. Dynamic scales follow from what moved the weights before, and only the error can be compared.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.kernels.gptq import quantize_layer
from workbench.kernels.gptq_settings import GptqSettings
from workbench.workers import Workers

GPTQMODEL = """
import sys
import torch
from gptqmodel.quantization import QuantizeConfig
from gptqmodel.quantization.gptq import GPTQ

given = torch.load(sys.argv[1])
found = []
for (bits, group_size, symmetric, desc_act, static), weight in zip(given["ways"], given["weights"]):
    config = QuantizeConfig(bits=bits, group_size=group_size, sym=symmetric, desc_act=desc_act, static_groups=static,
                            act_group_aware=False, damp_percent=0.01)
    module = torch.nn.Linear(*reversed(weight.shape), bias=False)
    module.weight.data = weight.clone()
    task = GPTQ(module, config)
    task.quantizer.configure(perchannel=True)
    task.add_batch(given["inputs"], None)
    found.append(task.quantize()[0].float().contiguous())
torch.save(found, sys.argv[2])
"""
LLMCOMPRESSOR = """
import sys
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils import calculate_qparams
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

given = torch.load(sys.argv[1])
inputs = given["inputs"]
found = []
for (bits, group_size, symmetric, desc_act, static), weight in zip(given["ways"], given["weights"]):
    arguments = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="group", group_size=group_size,
                                 actorder="static" if desc_act else None)
    groups = weight.reshape(len(weight), -1, group_size)
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), arguments)
    hessian = inputs.T @ inputs / len(inputs)
    values = [tensor[None] for tensor in (weight.clone(), hessian, scale, zero)]
    found.append(quantize_weight(*values, None, arguments, 128, 0.01)[0][0])
torch.save(found, sys.argv[2])
"""
PEERS = {
    # gptqmodel takes dynamic groups narrower than its blocks of 128 columns from before the block: ours are exact
    "WORKBENCH_GPTQMODEL_PYTHON": (
        GPTQMODEL,
        [
            (4, 128, True, False, False),
            (4, 128, True, True, False),
            (3, 128, False, True, False),
            (4, 32, True, True, True),
            (8, 64, True, False, True),
            (2, 64, False, False, True),
            (3, -1, True, False, False),
        ],
    ),
    "WORKBENCH_LLMCOMPRESSOR_PYTHON": (
        LLMCOMPRESSOR,
        [
            (4, 128, True, False, True),
            (4, 32, True, True, True),
            (8, 64, True, True, True),
            (3, 64, True, False, True),
        ],
    ),
}


def correlated(tokens: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(columns)
    mix = torch.randn(columns, columns, generator=generator) / columns**0.5
    return torch.randn(tokens, columns, generator=generator) @ mix + 0.1


def spanning(bits: int) -> torch.Tensor:
    """Weights whose range in each 32 columns gives scales of 1/64, symmetric or not."""
    weight = torch.randn(96, 384, generator=torch.Generator().manual_seed(bits)).clamp(-2.5, 2.5)
    weight[:, ::32], weight[:, 1::32] = 2.5, -2.5
    return weight * ((2**bits - 1) / 2 / 64 / 2.5)


@pytest.mark.peer
@pytest.mark.parametrize("variable", PEERS)
def test_the_peers_codes(variable: str, tmp_path: Path) -> None:
    if variable not in os.environ:
        pytest.skip(f"set {variable} to the Python of the peer's environment")
    script, ways = PEERS[variable]
    inputs, weights = correlated(3000, 384), [spanning(way[0]) for way in ways]
    torch.save({"weights": weights, "inputs": inputs, "ways": ways}, tmp_path / "given.pt")
    subprocess.run(
        [os.environ[variable], "-c", script, str(tmp_path / "given.pt"), str(tmp_path / "found.pt")],
        check=True,
        env={**os.environ, "GPTQMODEL_CPU_WORKERS": "2"},
    )
    for way, weight, theirs in zip(ways, weights, torch.load(tmp_path / "found.pt"), strict=True):
        with Workers(1) as workers:
            ours = quantize_layer(weight, GptqSettings(*way, scales="range"), inputs=inputs, workers=workers)
        steps = torch.from_numpy(ours.scales.astype(np.float32)[:, ours.g_idx])
        same = float(((theirs - torch.from_numpy(ours.weight)).abs() < 0.3 * steps).float().mean())
        change = torch.stack([weight - theirs, weight - torch.from_numpy(ours.weight)]).double()
        norms = (change @ inputs.double().T).norm(dim=(1, 2)) / (weight.double() @ inputs.double().T).norm()
        print(f"{way}: {same:.4f} of the codes are the same, relative output errors {norms.tolist()}")
        assert same > (0.999 if way[-1] or way[1] == -1 else 0.95)
        assert norms[1] == pytest.approx(float(norms[0]), rel=0.02)
        assert ours.relative_error == pytest.approx(float(norms[1]), rel=1e-3)
