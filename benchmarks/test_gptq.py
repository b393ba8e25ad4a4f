"""The GPTQ solver on one layer, beside its floor: the Cholesky factorisation it cannot do without."""

import pytest
import torch

from workbench.kernels.gptq import GptqResult, GptqSettings, quantize
from workbench.kernels.hessian import add_inputs, factorise, new_hessian
from workbench.processors import available_processors
from workbench.workers import Workers

WIDTH = 2048


@pytest.fixture(scope="module")
def layer():
    torch.manual_seed(0)
    hessian = new_hessian(WIDTH)
    inputs = torch.randn(2 * WIDTH, WIDTH) @ (torch.eye(WIDTH) + 0.02 * torch.randn(WIDTH, WIDTH))
    with Workers(available_processors()) as workers:
        add_inputs(hessian, inputs, workers)
    return torch.randn(WIDTH, WIDTH) * 0.02, hessian


@pytest.mark.benchmark(group=f"GPTQ of one {WIDTH} x {WIDTH} layer")
def test_solve(benchmark, layer):
    weight, hessian = layer

    def solve() -> GptqResult:
        with Workers(available_processors()) as workers:
            return quantize(weight, factorise(hessian.clone(), 0.01, False, workers), GptqSettings(), workers)

    result = benchmark.pedantic(solve, rounds=5, warmup_rounds=1)
    benchmark.extra_info["relative_error"] = result.relative_error


@pytest.mark.benchmark(group=f"GPTQ of one {WIDTH} x {WIDTH} layer")
def test_factorisation_alone(benchmark, layer):
    hessian = layer[1].triu() + layer[1].triu(1).t()
    damped = hessian.double() + hessian.diagonal().mean() * 0.01 * torch.eye(WIDTH, dtype=torch.float64)
    benchmark.pedantic(torch.linalg.cholesky, (damped,), rounds=5, warmup_rounds=1)
