"""The search for scales and zeros, against trying every grid plainly in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels._gptq_scales import SHARES, to_float16
from workbench.kernels.gptq_grid import SMALLEST_SCALE, Grid, choose_grid
from workbench.kernels.gptq_settings import GptqSettings


def errors(values: np.ndarray, costs: np.ndarray, grid: Grid) -> np.ndarray:
    """Weighted squared error of each row on its grid."""
    scale, zero = grid.scale.astype(np.float64)[:, None], grid.zero.astype(np.float64)[:, None]
    codes = np.clip(np.rint(values / scale) + zero, 0, grid.top)
    return ((values - scale * (codes - zero)) ** 2) @ costs.astype(np.float64)


@given(st.floats(2.0**-30, 65504, width=32))
@settings(max_examples=400, deadline=None)
def test_float16_as_numpy_rounds_it(value):
    assert to_float16(np.float32(value)) == np.float32(max(np.float16(value), SMALLEST_SCALE))


def test_every_float16_and_every_edge_between_two():
    """Also the edges themselves, which go to the even neighbour."""
    exact = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    edges = (exact[1:] + exact[:-1]) / 2
    for value in np.concatenate([exact, edges])[::7]:
        assert to_float16(value) == np.float32(np.float16(value))


@pytest.mark.parametrize("scales", ["mse", "hessian"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_share_of_the_range_is_better(bits, symmetric, scales):
    random = np.random.default_rng(bits)
    values = (random.standard_t(4, (60, 64)) + random.normal(0, 1, (60, 1))).astype(np.float32)
    costs = random.lognormal(0, 2, 64).astype(np.float32)
    weighed = costs if scales == "hessian" else np.ones(64, np.float32)
    found = errors(values, weighed, choose_grid(values, GptqSettings(bits, 64, symmetric, scales=scales), costs))
    widest = choose_grid(values, GptqSettings(bits, 64, symmetric, scales="range"))
    for share in SHARES.astype(np.float64):
        scale = np.maximum((widest.scale * share).astype(np.float16), SMALLEST_SCALE)
        assert (found <= errors(values, weighed, Grid(scale, widest.zero, widest.top)) * (1 + 1e-4)).all()


@pytest.mark.parametrize("bits", [2, 3])
def test_near_the_best_of_all_grids(bits):
    """Of a fine net over scales and every zero; the search tries a thirtieth of them."""
    random = np.random.default_rng(0)
    values, costs = random.normal(0.5, 1, (20, 32)).astype(np.float32), np.ones(32, np.float32)
    found = errors(values, costs, choose_grid(values, GptqSettings(bits, 32, symmetric=False, scales="mse")))
    top, best = 2**bits - 1, np.full(20, np.inf)
    for zero in range(1, top + 1):
        for scale in np.linspace(0.05, 4, 400).astype(np.float16):
            best = np.minimum(best, errors(values, costs, Grid(np.full(20, scale), np.full(20, zero), top)))
    assert found.sum() <= 1.02 * best.sum()


def test_columns_that_cost_nothing_do_not_count():
    values = np.random.default_rng(1).normal(size=(30, 64)).astype(np.float32)
    values[:, 32:] *= 2
    costs = np.r_[np.ones(32), np.zeros(32)].astype(np.float32)
    how = GptqSettings(4, 64, scales="hessian")
    fitted, alone = choose_grid(values, how, costs), choose_grid(values[:, :32], how, costs[:32])
    half = np.ones(32, np.float32)
    assert errors(values[:, :32], half, fitted).sum() <= 1.05 * errors(values[:, :32], half, alone).sum()
