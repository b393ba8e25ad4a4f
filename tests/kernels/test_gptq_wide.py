"""The GPTQ solver on a layer of several tiles, wide blocks and pieces: float32 throughout, products of full size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.kernels import hessian as moments
from workbench.kernels.gptq import GptqResult, quantize_layer
from workbench.kernels.gptq_settings import GptqSettings
from workbench.workers import Workers

INPUTS, OUTPUTS, TOKENS = 1100, 700, 1500


@pytest.fixture(scope="module")
def layer() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(TOKENS, 40, generator=generator) @ torch.randn(40, INPUTS, generator=generator)
    inputs = torch.randn(TOKENS, INPUTS, generator=generator) + shared / 6
    return 0.02 * torch.randn(OUTPUTS, INPUTS, generator=generator), inputs


def solved(layer: tuple[torch.Tensor, torch.Tensor], settings: GptqSettings, threads: int = 2) -> GptqResult:
    with Workers(threads) as workers:
        return quantize_layer(layer[0], settings, inputs=layer[1], workers=workers)


@pytest.fixture
def single(monkeypatch):
    """The factor in float32, as of the widest layers."""
    monkeypatch.setattr(moments, "DOUBLE_UP_TO", 0)


@pytest.mark.parametrize("settings", [GptqSettings(), GptqSettings(desc_act=False, static_groups=False)], ids=str)
def test_the_error_told_is_that_of_the_outputs(single, layer, settings):
    weight, inputs = (part.double() for part in layer)
    result = solved(layer, settings)
    change = torch.from_numpy(result.weight) - weight
    exact = float((inputs @ change.t()).norm() / (inputs @ weight.t()).norm())
    assert result.relative_error == pytest.approx(exact, rel=1e-3)


def test_a_factor_in_single_precision_is_as_good_as_in_double(monkeypatch, layer):
    double = solved(layer, GptqSettings())
    monkeypatch.setattr(moments, "DOUBLE_UP_TO", 0)
    single = solved(layer, GptqSettings())
    assert (single.codes == double.codes).mean() > 0.98
    assert single.relative_error == pytest.approx(double.relative_error, rel=2e-3)


def test_the_number_of_threads_changes_nothing(single, layer):
    first, second = (solved(layer, GptqSettings(bits=3), threads) for threads in (1, 3))
    assert first.relative_error == second.relative_error
    for part in ("codes", "scales", "zeros", "g_idx"):
        np.testing.assert_array_equal(getattr(first, part), getattr(second, part))
