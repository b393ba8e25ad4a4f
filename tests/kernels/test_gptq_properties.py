"""What holds for every layer and all settings of GPTQ, whatever its numbers are."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels.gptq import GptqResult, quantize_layer
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.packing import dequantize, unpack
from workbench.workers import Workers

ways = st.builds(
    GptqSettings,
    bits=st.sampled_from([2, 3, 4, 8]),
    group_size=st.sampled_from([32, 64, 128, -1]),
    symmetric=st.booleans(),
    desc_act=st.booleans(),
    static_groups=st.booleans(),
    scales=st.sampled_from(["range", "mse", "hessian"]),
)
slow = settings(max_examples=40, deadline=None)


@st.composite
def problems(draw: st.DrawFn, unit: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Weights and inputs, sizes multiples of the unit; some inputs stand far above the others, as in real models."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = (unit * draw(st.integers(1, most // unit)) for most in (64, 300))
    inputs = random.normal(size=(draw(st.integers(columns, 2 * columns + 50)), columns))
    inputs = inputs @ (np.eye(columns) + random.normal(size=(columns, columns)) / columns**0.5)
    inputs *= random.lognormal(0, draw(st.floats(0, 2)), columns)
    weight = random.normal(size=(rows, columns)) * random.lognormal(-4, draw(st.floats(0, 1)), (rows, 1))
    return weight.astype(np.float32), inputs.astype(np.float32)


def solve(weight: np.ndarray, inputs: np.ndarray, how: GptqSettings) -> GptqResult:
    with Workers(1) as workers:
        return quantize_layer(weight, how, inputs=inputs, workers=workers)


def output_error(weight: np.ndarray, rounded: np.ndarray, inputs: np.ndarray) -> float:
    before, after = (part.astype(np.float64) @ inputs.astype(np.float64).T for part in (weight, rounded))
    return float(np.linalg.norm(before - after) / np.linalg.norm(before))


@given(problems(), ways)
@slow
def test_the_result_fits_together(problem, how):
    weight, inputs = problem
    result = solve(weight, inputs, how)
    columns, top = weight.shape[1], 2**how.bits - 1
    group = columns if how.group_size == -1 else how.group_size
    assert result.codes.shape == weight.shape and int(result.codes.max()) <= top
    assert result.scales.shape == result.zeros.shape == (len(weight), -(-columns // group))
    assert result.zeros.min() >= 1 and result.zeros.max() <= top and (result.scales > 0).all()
    if how.symmetric:
        assert (result.zeros == (top + 1) // 2).all()
    np.testing.assert_array_equal(np.sort(result.g_idx), np.arange(columns) // group)
    if how.static_groups or not how.desc_act:
        np.testing.assert_array_equal(result.g_idx, np.arange(columns) // group)
    recomputed = output_error(weight, result.weight, inputs)
    assert abs(result.relative_error - recomputed) <= 2e-3 * recomputed + 1e-5


@given(problems(unit=32), ways)
@slow
def test_readers_see_the_weight_bit_for_bit(problem, how):
    result = solve(*problem, how)
    np.testing.assert_array_equal(dequantize(result.packed, how.bits), result.weight)
    for read, made in zip(unpack(result.packed, how.bits), (result.codes, result.scales, result.zeros), strict=True):
        np.testing.assert_array_equal(read, made)


@given(st.integers(0, 2**32 - 1), ways)
@slow
def test_no_worse_than_rounding_to_nearest_on_the_same_grid(seed, how):
    """Not a theorem for one row, but over many rows of correlated inputs what GPTQ is for."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(64, 96)).astype(np.float32)
    inputs = (random.normal(size=(400, 96)) @ random.normal(size=(96, 96))).astype(np.float32)
    result = solve(weight, inputs, dataclasses.replace(how, static_groups=True))
    scales, zeros = (part.astype(np.float32)[:, result.g_idx] for part in (result.scales, result.zeros))
    nearest = scales * (np.clip(np.rint(weight / scales) + zeros, 0, 2**how.bits - 1) - zeros)
    assert result.relative_error <= output_error(weight, nearest, inputs)


@given(st.integers(0, 2**32 - 1), ways)
@slow
def test_weights_that_lie_on_the_grid_stay(seed, how):
    """Each group and row spans all codes, so that the grid of the range is the one they lie on: nothing is lost."""
    random = np.random.default_rng(seed)
    how = dataclasses.replace(how, symmetric=False)
    columns, top = 200, 2**how.bits - 1
    group = columns if how.group_size == -1 else how.group_size
    groups = np.arange(columns) // group
    how = dataclasses.replace(how, static_groups=True)
    codes = random.integers(0, top + 1, (16, columns))
    for first in range(0, columns, group):
        codes[:, first], codes[:, min(first + group, columns) - 1] = 0, top
    zeros = random.integers(1, top + 1, (16, groups[-1] + 1))
    scales = random.lognormal(-4, 1, zeros.shape).astype(np.float16).astype(np.float32)
    weight = scales[:, groups] * (codes - zeros[:, groups]).astype(np.float32)
    result = solve(weight, random.normal(size=(300, columns)), how)
    np.testing.assert_array_equal(result.weight, weight)
    np.testing.assert_array_equal(result.codes, codes)
    assert result.relative_error < 1e-6
