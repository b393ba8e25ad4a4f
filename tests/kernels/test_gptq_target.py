"""The weights to aim at: those of the normal equations, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.kernels.gptq_target import add_shift, corrected, new_shift
from workbench.kernels.hessian import Factor, add_inputs, factorise, new_hessian
from workbench.workers import Workers

TOKENS, INPUTS, OUTPUTS = 400, 160, 600


def streams() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, what the quantized model's layer reads, and what the float model's does."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(TOKENS, INPUTS, generator=generator) @ torch.randn(INPUTS, INPUTS, generator=generator)
    reference = inputs + torch.randn(TOKENS, INPUTS, generator=generator)
    return torch.randn(OUTPUTS, INPUTS, generator=generator), inputs, reference


def moments(inputs: torch.Tensor, reference: torch.Tensor, desc_act: bool) -> tuple[torch.Tensor, Factor]:
    with Workers(2) as workers:
        hessian, shift = new_hessian(INPUTS), new_shift(INPUTS)
        for part in (slice(0, 250), slice(250, TOKENS)):
            add_inputs(hessian, inputs[part], workers)
            add_shift(shift, inputs[part], reference[part], workers)
        return shift, factorise(hessian, 0.01, desc_act, workers)


@pytest.mark.parametrize("desc_act", [False, True])
def test_it_solves_the_damped_least_squares_problem(desc_act: bool) -> None:
    weight, inputs, reference = streams()
    shift, factor = moments(inputs, reference, desc_act)
    with Workers(1) as workers:
        found = corrected(weight, shift, factor, 1.0, workers)
    w, x, y = (values.double().numpy() for values in (weight, inputs, reference))
    # Least of ||y w^T - x t^T||^2 + lambda ||t - w||^2 over t, as one system of more rows.
    root = np.sqrt(0.01 * np.square(x).sum(axis=0).mean()) * np.eye(INPUTS)
    expected = np.linalg.lstsq(np.vstack([x, root]), np.vstack([y @ w.T, root @ w.T]), rcond=None)[0].T
    assert np.abs(found.numpy() - expected).max() < 1e-3 * np.abs(expected - w).max()


def test_strength_goes_part_of_the_way_and_equal_streams_change_nothing() -> None:
    weight, inputs, reference = streams()
    shift, factor = moments(inputs, reference, False)
    none, _ = moments(inputs, inputs, False)
    with Workers(2) as workers:
        whole, half = (corrected(weight, shift, factor, strength, workers) for strength in (1.0, 0.5))
        same = corrected(weight, none, factor, 1.0, workers)
    assert torch.allclose(half, (whole + weight) / 2, atol=1e-6)
    assert torch.equal(same, weight)
