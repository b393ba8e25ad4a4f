"""The GPTQ solver on one layer, beside its floor: the Cholesky factorisation it cannot do without."""

import pytest
import torch

from workbench.kernels.gptq import GptqSettings, add_inputs, new_hessian, quantize

WIDTH = 2048


@pytest.fixture(scope="module")
def layer():
    torch.manual_seed(0)
    hessian = new_hessian(WIDTH)
    add_inputs(hessian, torch.randn(2 * WIDTH, WIDTH) @ (torch.eye(WIDTH) + 0.02 * torch.randn(WIDTH, WIDTH)))
    return torch.randn(WIDTH, WIDTH) * 0.02, hessian


@pytest.mark.benchmark(group=f"GPTQ of one {WIDTH} x {WIDTH} layer")
def test_solve(benchmark, layer):
    weight, hessian = layer
    result = benchmark.pedantic(quantize, (weight, hessian, GptqSettings()), rounds=5, warmup_rounds=1)
    benchmark.extra_info["relative_error"] = result.relative_error


@pytest.mark.benchmark(group=f"GPTQ of one {WIDTH} x {WIDTH} layer")
def test_factorisation_alone(benchmark, layer):
    _, hessian = layer
    damped = hessian.double() + hessian.diagonal().mean() * 0.01 * torch.eye(WIDTH, dtype=torch.float64)
    benchmark.pedantic(torch.linalg.cholesky, (damped,), rounds=5, warmup_rounds=1)
