"""Polished layers: never worse, at a point where no single change helps, and the same for any number of threads."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels.gptq import GptqResult, quantize
from workbench.kernels.gptq_polish import polish
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import Factor, add_inputs, factorise, new_hessian
from workbench.workers import Workers


def layer(seed: int, rows: int = 40, columns: int = 192, tokens: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and inputs that go together as a model's do."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(tokens, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return torch.randn(rows, columns, generator=generator) * 0.02, inputs


def factor_of(inputs: torch.Tensor, workers: Workers, desc_act: bool = False) -> Factor:
    hessian = new_hessian(inputs.shape[1])
    add_inputs(hessian, inputs, workers)
    return factorise(hessian, 0.01, desc_act, workers)


def damped(inputs: torch.Tensor) -> np.ndarray:
    hessian = inputs.double().T @ inputs.double()
    return (hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)).numpy()


def damage(weight: torch.Tensor, result: GptqResult, hessian: np.ndarray) -> np.ndarray:
    """tr(E H E^T) of each row."""
    error = weight.double().numpy() - result.weight.astype(np.float64)
    return ((error @ hessian) * error).sum(axis=1)


@given(st.integers(0, 9), st.sampled_from([2, 3, 4]), st.sampled_from([32, 128, -1]), *[st.booleans()] * 3)
@settings(max_examples=20, deadline=None)
def test_damage_never_rises(seed: int, bits: int, group: int, symmetric: bool, desc_act: bool, static: bool) -> None:
    weight, inputs = layer(seed)
    with Workers(2) as workers:
        factor = factor_of(inputs, workers, desc_act)
        wanted = GptqSettings(bits, group, symmetric, desc_act, static)
        before = quantize(weight, factor, wanted, workers)
        results = [before] + [polish(weight, before, factor, workers, sweeps) for sweeps in (1, 2, 8)]
    found = [damage(weight, one, damped(inputs)) for one in results]
    for earlier, later in itertools.pairwise(found):
        assert (later <= earlier * (1 + 1e-4)).all()
    assert found[-1].sum() < found[0].sum()


def test_no_single_code_or_scale_is_better_in_the_end() -> None:
    weight, inputs = layer(1, rows=6, columns=160)
    hessian = damped(inputs)
    with Workers(1) as workers:
        factor = factor_of(inputs, workers)
        before = quantize(weight, factor, GptqSettings(3, 32), workers)
        result = polish(weight, before, factor, workers, sweeps=100)
    least = damage(weight, result, hessian)
    for column in range(160):
        for step in (-1, 1):
            moved = result.codes.astype(int)
            moved[:, column] = np.clip(moved[:, column] + step, 0, 7)
            other = damage(weight, replace(result, codes=moved.astype(np.uint8)), hessian)
            assert (other >= least * (1 - 1e-5)).all()
    for group in range(5):
        for direction in (np.float16(0), np.float16(np.inf)):
            scales = result.scales.copy()
            scales[:, group] = np.nextafter(scales[:, group], direction)
            assert (damage(weight, replace(result, scales=scales), hessian) >= least * (1 - 1e-5)).all()


def test_relative_error_is_that_of_the_outputs() -> None:
    weight, inputs = layer(2)
    with Workers(1) as workers:
        factor = factor_of(inputs, workers)
        result = polish(weight, quantize(weight, factor, GptqSettings(4, 64), workers), factor, workers)
    outputs = inputs.double() @ weight.double().T
    changed = inputs.double() @ torch.from_numpy(result.weight).double().T
    assert result.relative_error == pytest.approx(float((changed - outputs).norm() / outputs.norm()), rel=1e-3)


def test_bytes_do_not_depend_on_the_threads() -> None:
    weight, inputs = layer(3, rows=1100, columns=128)
    found = []
    for threads in (1, 3):
        with Workers(threads) as workers:
            factor = factor_of(inputs, workers)
            found.append(polish(weight, quantize(weight, factor, GptqSettings(3, 64), workers), factor, workers))
    assert (found[0].codes == found[1].codes).all()
    assert (found[0].scales == found[1].scales).all()
