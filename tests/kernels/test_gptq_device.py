"""GPTQ in torch for a GPU, run on the CPU: against the CPU's solver and against the paper's algorithm in float64.

The same tests run on a GPU with ``-m gpu``. Triton's kernel runs in its interpreter, in a process of its own, and is
compiled for a GPU that need not be there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gptq_reference import paper, relative_error
from workbench.errors import WorkbenchError
from workbench.kernels import gptq_cuda, gptq_cuda_factor
from workbench.kernels.gptq import quantize_layer
from workbench.kernels.gptq_cuda import quantize_on_device, solve
from workbench.kernels.gptq_cuda_factor import add_inputs_on_device, factorise_on_device, full_float32
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.packing import pack
from workbench.workers import Workers

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
on_each_device = pytest.mark.parametrize("device", DEVICES)


def problem(columns: int, rows: int = 96, tokens: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and correlated inputs."""
    generator = torch.Generator().manual_seed(columns)
    mix = torch.randn(columns, columns, generator=generator) / columns**0.5
    inputs = torch.randn(tokens, columns, generator=generator) @ mix
    inputs += 0.1 * torch.randn(tokens, columns, generator=generator)
    return 0.02 * torch.randn(rows, columns, generator=generator), inputs


def moments(inputs: torch.Tensor, device: str = "cpu") -> torch.Tensor:
    hessian = torch.zeros(inputs.shape[1], inputs.shape[1], device=device)
    for part in inputs.split(400):
        add_inputs_on_device(hessian, part.to(device))
    return hessian


def plain(bits: int, group_size: int, **changes: Any) -> GptqSettings:
    """The paper's settings unless said otherwise."""
    return GptqSettings(bits, group_size, **{"desc_act": False, "static_groups": False, "scales": "range"} | changes)


SETTINGS = [
    plain(4, 128),
    plain(4, 64, symmetric=False, desc_act=True),
    plain(3, -1),
    plain(8, 32, desc_act=True, static_groups=True),
    plain(2, 32, symmetric=False, static_groups=True),
    plain(4, -1, symmetric=False, desc_act=True),
]
SEARCHED = [
    GptqSettings(4, 128),
    plain(4, 128, scales="mse"),
    plain(3, 64, symmetric=False, scales="hessian"),
    plain(2, -1, desc_act=True, scales="hessian"),
    plain(4, 32, static_groups=True, desc_act=True, scales="mse"),
]


def described(settings: GptqSettings) -> str:
    names = ("symmetric", "desc_act", "static_groups")
    return "-".join(
        [str(settings.bits), str(settings.group_size), settings.scales, *filter(settings.__getattribute__, names)]
    )


@on_each_device
@pytest.mark.parametrize("columns", [200, 384])  # 200: the last group is narrower
@pytest.mark.parametrize("settings", [*SETTINGS, *SEARCHED], ids=described)
def test_same_as_the_cpus_solver(settings, columns, device):
    weight, inputs = problem(columns)
    with Workers(1) as workers:
        expected = quantize_layer(weight, settings, inputs=inputs, workers=workers)
    found = quantize_on_device(weight, moments(inputs, device), settings)
    # A value on the edge between two codes, or a choice among equal scales, may fall to either side and move its row.
    assert (found.codes == expected.codes).mean() > (0.99 if settings.scales == "range" else 0.98)
    assert (found.scales == expected.scales).mean() > 0.98
    np.testing.assert_array_equal(found.g_idx, expected.g_idx)
    assert found.relative_error == pytest.approx(expected.relative_error, rel=1e-3)
    assert (found.damp, found.bits) == (expected.damp, expected.bits)


@on_each_device
@pytest.mark.parametrize("settings", SETTINGS, ids=described)
def test_the_papers_error(settings, device):
    weight, inputs = problem(320)
    codes, rounded = paper(weight, inputs.double().t() @ inputs.double(), settings)
    found = quantize_on_device(weight, moments(inputs, device), settings)
    hessian = inputs.double().t() @ inputs.double()
    assert (found.codes == codes.numpy()).mean() > 0.99
    assert found.relative_error == pytest.approx(relative_error(weight, rounded, hessian), rel=1e-2)
    assert found.relative_error == pytest.approx(
        relative_error(weight, torch.from_numpy(found.weight), hessian), rel=1e-3
    )


@on_each_device
@pytest.mark.parametrize("desc_act", [False, True])
def test_tiles_panels_and_levels_change_nothing(desc_act, device, monkeypatch):
    """Several tiles, a last one that is narrower, and another try with more damping: the same matrix comes back."""
    _, inputs = problem(320)
    expected = inputs.double().t() @ inputs.double()
    expected.diagonal().sub_(0.02 * expected.diagonal().mean())  # not definite without more damping
    monkeypatch.setattr(gptq_cuda_factor, "TILE", 96)
    for double_up_to in (0, 2048):
        monkeypatch.setattr(gptq_cuda_factor, "DOUBLE_UP_TO", double_up_to)
        factor = factorise_on_device(expected.float().triu().to(device), GptqSettings(desc_act=desc_act, damp=0.001))
        upper, place = factor.upper.double().triu(), factor.order.argsort()
        whole = (upper @ upper.t() - torch.diag(factor.added))[place][:, place].cpu()
        assert factor.damp > 0.001
        assert any("damping was raised" in note for note in factor.notes)
        torch.testing.assert_close(whole, expected, rtol=0, atol=2e-6 * float(expected.diagonal().max()))


@pytest.mark.parametrize("settings", [GptqSettings(4, 128), GptqSettings(3, 32, desc_act=True, static_groups=True)])
def test_far_and_near_columns_carry_the_same(settings, monkeypatch):
    weight, inputs = problem(700)
    whole = quantize_on_device(weight, moments(inputs), settings)
    monkeypatch.setattr(gptq_cuda, "WIDE", 256)
    monkeypatch.setattr(gptq_cuda_factor, "PANEL", 96)
    pieces = quantize_on_device(weight, moments(inputs), settings)
    assert (whole.codes == pieces.codes).mean() > 0.999
    assert whole.relative_error == pytest.approx(pieces.relative_error, rel=1e-4)


@on_each_device
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_products_of_short_floats_are_exact(dtype, device):
    _, inputs = problem(256, tokens=5000)
    short = inputs.to(dtype)
    hessian = torch.zeros(256, 256, device=device)
    add_inputs_on_device(hessian, short.reshape(2, 2500, 256).to(device))
    expected = (short.double().t() @ short.double()).triu()
    torch.testing.assert_close(
        hessian.double().cpu().triu(), expected, rtol=0, atol=3e-6 * float(expected.diagonal().max())
    )


@pytest.mark.gpu
def test_the_public_function_on_a_gpu():
    """From inputs with more dimensions on the CPU, and from their Hessian."""
    weight, inputs = problem(192)
    settings = plain(3, 32, desc_act=True)
    with Workers(1) as workers:
        expected = quantize_layer(weight, settings, inputs=inputs, workers=workers)
    for given in ({"inputs": inputs.reshape(3, 500, 192)}, {"hessian": inputs.t() @ inputs}):
        found = quantize_layer(weight.cuda(), settings, **given)
        assert (found.codes == expected.codes).mean() > 0.999
        assert found.relative_error == pytest.approx(expected.relative_error, rel=1e-3)


@on_each_device
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("columns", [192, 200])  # 200 codes of 4 bits are 25 words
def test_packed_as_on_the_cpu(columns, bits, version, device):
    if columns * bits % 32:
        pytest.skip("not whole words")
    weight, inputs = problem(columns)
    settings = GptqSettings(bits, 64, symmetric=False)
    solved = solve(weight.to(device), factorise_on_device(moments(inputs, device), settings), settings)
    result = solved.on_cpu()
    expected = pack(result.codes, result.scales, result.zeros, result.g_idx, bits, version)
    for part, found in zip(("qweight", "qzeros", "scales", "g_idx"), solved.pieces(version), strict=True):
        np.testing.assert_array_equal(found, getattr(expected, part))
        assert found.dtype == getattr(expected, part).dtype
    np.testing.assert_array_equal(solved.packed.qweight, expected.qweight)


@on_each_device
def test_layers_share_a_factor_and_keep_their_type(device):
    weight, inputs = problem(256, rows=160)
    settings = GptqSettings(group_size=64, desc_act=True)
    factor = factorise_on_device(moments(inputs, device), settings, tokens=len(inputs))
    layers = weight.bfloat16().to(device).split(80)
    solved = [solve(layer, factor, settings) for layer in layers]
    together = solve(torch.cat(layers), factor, settings)
    for layer, part, codes in zip(layers, solved, together.codes.split(80), strict=True):
        assert (part.codes == codes).float().mean() > 0.999
        parameter = torch.nn.Parameter(layer.clone(), requires_grad=False)
        part.write_to(parameter)
        assert parameter.dtype == torch.bfloat16
        torch.testing.assert_close(parameter.cpu(), torch.from_numpy(part.on_cpu().weight).bfloat16())
    assert not factor.notes


@on_each_device
def test_what_cannot_be_quantized_is_told(device):
    weight, inputs = problem(64)
    settings = GptqSettings(group_size=64)
    hessian = moments(inputs, device)
    with pytest.raises(WorkbenchError, match="a weight is NaN or infinity"):
        quantize_on_device(torch.where(weight == weight.max(), torch.nan, weight), hessian.clone(), settings)
    with pytest.raises(WorkbenchError, match="too large for float16"):
        quantize_on_device(weight * 1e9, hessian.clone(), settings)
    with pytest.raises(WorkbenchError, match="activations hold NaN"):
        factorise_on_device(torch.where(hessian == hessian.max(), torch.inf, hessian), settings)
    indefinite = hessian - 100 * hessian.diagonal().max() * (1 - torch.eye(64, device=device))
    with pytest.raises(WorkbenchError, match="span too little"):
        factorise_on_device(indefinite, settings)
    with pytest.raises(ValueError, match="do not fit"):
        solve(weight[:, :32], factorise_on_device(hessian, settings), settings)


def test_the_weights_and_the_callers_precision_stay_as_they_were():
    weight, inputs = problem(64)
    before = weight.clone()
    torch.set_float32_matmul_precision("high")
    try:
        quantize_on_device(weight, moments(inputs), GptqSettings(group_size=32))
        assert torch.get_float32_matmul_precision() == "high"
        with full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(weight, before, rtol=0, atol=0)


needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed; CUDA builds of torch bring it"
)


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@needs_triton
def test_tritons_kernel_in_its_interpreter():
    child = Path(__file__).parent / "triton_interpreted.py"
    run_python(child.read_text(encoding="utf-8"), TRITON_INTERPRET="1", OMP_NUM_THREADS="1")


@needs_triton
def test_tritons_kernel_compiles_for_a_gpu_that_is_not_there():
    """To machine code for compute capability 8.0 and 9.0: what the interpreter accepts the compiler may not."""
    sizes = run_python(
        """
import inspect
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from workbench.kernels._gptq_triton import ROWS, _round_columns

names = list(inspect.signature(_round_columns.fn).parameters)
kinds = ["*fp32"] * 4 + ["*fp16", "*u8", "*i32", "*u8"] + ["i32"] * 6 + ["fp32", "constexpr", "constexpr"]
for capability in (80, 90):
    source = ASTSource(_round_columns, dict(zip(names, kinds, strict=True)), {"ROWS": ROWS, "WIDTH": 128})
    print(len(triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]))
"""
    ).split()
    assert len(sizes) == 2
    assert all(int(size) > 1000 for size in sizes)


@on_each_device
def test_scales_that_float16_cannot_hold_are_told_as_on_the_cpu(device):
    weight, inputs = problem(96)
    weight[0] *= 1e-7
    weight[1] *= 2e-3
    with Workers(1) as workers:
        expected = quantize_layer(weight, GptqSettings(group_size=32), inputs=inputs, workers=workers)
    found = quantize_on_device(weight, moments(inputs, device), GptqSettings(group_size=32))
    assert found.notes == expected.notes and len(found.notes) == 2
