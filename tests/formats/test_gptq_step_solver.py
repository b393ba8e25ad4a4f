"""The solver of a step on a device gives what the CPU's gives, whatever the batches."""

import numpy as np
import pytest
import torch

from workbench.formats._gptq_solver import DeviceStepSolver, StepSolver
from workbench.kernels import gptq_cuda_factor
from workbench.kernels.gptq_settings import GptqSettings
from workbench.workers import Workers


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("together", [1, 500, 10_000])
def test_the_same_on_a_device(device, together, monkeypatch):
    monkeypatch.setattr(gptq_cuda_factor, "TOGETHER", together)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(900, 160, generator=generator) @ torch.randn(160, 160, generator=generator)
    weight = 0.02 * torch.randn(64, 160, generator=generator)
    settings = GptqSettings(4, 32, desc_act=True, scales="mse")
    with Workers(1) as workers:
        solvers = StepSolver(settings, 160, workers), DeviceStepSolver(settings, 160, device)
        for part in inputs.split(250):
            solvers[0].add(part)
            solvers[1].add(part.to(device))
        expected, found = solvers[0].quantize(weight), solvers[1].quantize(weight.to(device))
    assert (found.on_cpu().codes == expected.codes).mean() > 0.98
    assert found.relative_error == pytest.approx(expected.relative_error, rel=1e-3)
    assert found.notes == expected.notes
    np.testing.assert_array_equal(found.packed.g_idx, expected.packed.g_idx)
    assert found.packed.qweight.shape == expected.packed.qweight.shape
