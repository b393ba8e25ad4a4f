"""GPTQ on layers that are out of the ordinary: each is handled, and the result's notes tell how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from workbench.errors import WorkbenchError
from workbench.kernels.gptq import GptqResult, quantize_layer
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.packing import dequantize
from workbench.workers import Workers


def layer(rows: int = 24, columns: int = 96, tokens: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and correlated inputs."""
    generator = torch.Generator().manual_seed(rows + columns)
    mix = torch.randn(columns, columns, generator=generator) / columns**0.5
    inputs = torch.randn(tokens, columns, generator=generator) @ mix
    return 0.02 * torch.randn(rows, columns, generator=generator), inputs


def solve(weight: Any, settings: GptqSettings | None = None, **given: Any) -> GptqResult:
    with Workers(1) as workers:
        return quantize_layer(weight, settings or GptqSettings(group_size=32), workers=workers, **given)


def output_error(weight: torch.Tensor, result: GptqResult, inputs: torch.Tensor) -> float:
    """Recomputed in float64."""
    before, after = weight.double() @ inputs.double().T, torch.from_numpy(result.weight).double() @ inputs.double().T
    return float((before - after).norm() / before.norm())


def codes_are_nearest(weight: torch.Tensor, result: GptqResult, columns: slice = slice(None)) -> bool:
    """Whether each weight went to the nearest value of its grid."""
    scales, zeros = (part.astype(np.float64)[:, result.g_idx] for part in (result.scales, result.zeros))
    nearest = np.clip(np.rint(weight.double().numpy() / scales) + zeros, 0, 2**result.bits - 1)
    return bool((np.abs(nearest - result.codes)[:, columns] == 0).mean() > 0.999)  # but for ties in float32


def test_an_ordinary_layer_has_nothing_to_tell():
    weight, inputs = layer()
    result = solve(weight, inputs=inputs)
    assert result.notes == ()
    assert result.relative_error == pytest.approx(output_error(weight, result, inputs), rel=1e-3)


@pytest.mark.parametrize("desc_act", [False, True])
def test_dead_inputs_go_to_nearest_disturb_nothing_and_are_told(desc_act):
    weight, inputs = layer()
    dead = [3, 40, 95]
    inputs[:, dead] = 0
    weight[:, dead] = 1e-3  # no group's range hangs on them
    settings = GptqSettings(group_size=32, desc_act=desc_act, scales="range")
    result = solve(weight, settings, inputs=inputs)
    assert result.notes == ("3 of 96 inputs were always zero: their weights are rounded to nearest",)
    scales, zeros = (part.astype(np.float64)[:, result.g_idx[dead]] for part in (result.scales, result.zeros))
    nearest = np.clip(np.rint(weight[:, dead].double().numpy() / scales) + zeros, 0, 15)
    np.testing.assert_array_equal(result.codes[:, dead], nearest)
    changed = weight.clone()
    changed[:, dead] *= -2
    others = [place for place in range(96) if place not in dead]
    np.testing.assert_array_equal(solve(changed, settings, inputs=inputs).codes[:, others], result.codes[:, others])


def test_small_activations_are_damped_like_large_ones():
    """Dead inputs beside inputs of a millionth: only the scale of all inputs differs, so no code may."""
    weight, inputs = layer()
    inputs[:, 7] = 0
    np.testing.assert_array_equal(solve(weight, inputs=inputs).codes, solve(weight, inputs=inputs * 2.0**-20).codes)


def test_fewer_tokens_than_inputs_are_told():
    weight, inputs = layer(tokens=10)
    result = solve(weight, inputs=inputs)
    assert result.notes == ("10 calibration tokens are fewer than 96 inputs: damping alone tells the rest apart",)
    assert result.relative_error == pytest.approx(output_error(weight, result, inputs), rel=1e-2)


@pytest.mark.parametrize("inputs", [torch.zeros(0, 96), torch.zeros(7, 96)], ids=["no tokens", "only zeros"])
def test_inputs_that_tell_nothing_leave_rounding_to_nearest(inputs):
    weight, _ = layer()
    result = solve(weight, inputs=inputs)
    assert codes_are_nearest(weight, result)
    assert result.relative_error == 0
    assert f"no input was ever other than zero ({len(inputs)} tokens)" in result.notes[0]


def test_damping_that_was_raised_is_told():
    weight, inputs = layer(tokens=20)
    result = solve(weight, GptqSettings(group_size=32, damp=0.0), inputs=inputs.double().float())
    assert result.damp > 0
    assert any(note.startswith("damping was raised from 0 to ") for note in result.notes)
    assert np.isfinite(result.weight).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(value):
    weight, inputs = layer()
    broken = inputs.clone()
    broken[5, 5] = value
    with pytest.raises(WorkbenchError, match="activations hold NaN"):
        solve(weight, inputs=broken)
    hessian = inputs.T @ inputs
    hessian[3, 9] = value
    with pytest.raises(ValueError, match="finite"):
        solve(weight, hessian=hessian)
    weight[2, 2] = value
    with pytest.raises(WorkbenchError, match="weight is NaN"):
        solve(weight, inputs=inputs)


def test_activations_whose_squares_overflow_are_refused():
    weight, inputs = layer()
    with pytest.raises(WorkbenchError, match="overflows"):
        solve(weight, inputs=inputs * 1e25)


def test_a_negative_moment_is_refused():
    weight, inputs = layer()
    with pytest.raises(ValueError, match="nowhere negative"):
        solve(weight, hessian=inputs.T @ inputs - 1e6 * torch.eye(96))


def test_only_the_upper_triangle_is_read():
    weight, inputs = layer()
    hessian = inputs.T @ inputs
    upper = hessian.triu() + torch.full((96, 96), float("nan")).tril(-1).nan_to_num(1e9)
    np.testing.assert_array_equal(solve(weight, hessian=upper).codes, solve(weight, hessian=hessian).codes)


def test_what_is_handed_in_is_not_changed():
    weight, inputs = layer()
    hessian = inputs.T @ inputs
    copies = [part.clone() for part in (weight, inputs, hessian)]
    solve(weight, inputs=inputs)
    solve(weight, hessian=hessian)
    for part, copy in zip((weight, inputs, hessian), copies, strict=True):
        torch.testing.assert_close(part, copy, rtol=0, atol=0)


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_too_large_for_float16_scales_are_refused(symmetric):
    weight, inputs = layer()
    with pytest.raises(WorkbenchError, match="too large for float16"):
        solve(weight * 1e9, GptqSettings(group_size=32, symmetric=symmetric), inputs=inputs)


def test_scales_too_small_for_float16_are_told():
    weight, inputs = layer()
    weight[0] *= 1e-7
    weight[1] *= 2e-3
    result = solve(weight, inputs=inputs)
    assert np.isfinite(result.weight).all() and (result.scales > 0).all()
    assert result.notes == (
        "3 of 72 scales are as small as float16 can be: their weights lose most digits",
        "3 of 72 scales are so small that float16 holds few digits of them",
    )


@pytest.mark.parametrize("scales", ["range", "mse", "hessian"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.25, -0.25])
def test_constant_rows(value, symmetric, scales):
    weight, inputs = layer()
    weight[3] = value
    result = solve(weight, GptqSettings(8, 32, symmetric=symmetric, scales=scales), inputs=inputs)
    np.testing.assert_allclose(result.weight[3], value, atol=0.02 * abs(value))
    assert result.zeros.min() >= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_of_one_sign_keep_a_zero_that_can_be_stored(sign):
    weight, inputs = layer()
    one_sign = sign * (weight.abs() + 0.1)
    result = solve(one_sign, GptqSettings(4, 32, symmetric=False), inputs=inputs)
    assert result.zeros.min() >= 1
    assert result.relative_error < 0.1


@pytest.mark.parametrize("group_size", [32, 128, -1])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 96), (5, 1), (3, 31), (2, 33), (4, 129), (3, 700)])
def test_odd_sizes(rows, columns, group_size):
    weight, inputs = layer(rows, columns, tokens=2 * columns + 10)
    result = solve(weight, GptqSettings(group_size=group_size), inputs=inputs)
    group = columns if group_size == -1 else group_size
    assert result.scales.shape == result.zeros.shape == (rows, -(-columns // group))
    np.testing.assert_array_equal(result.g_idx, np.arange(columns) // group)
    assert result.relative_error == pytest.approx(output_error(weight, result, inputs), rel=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_read_as_float32(dtype):
    weight, inputs = layer()
    expected = solve(weight.to(dtype).float(), inputs=inputs.to(dtype).float())
    np.testing.assert_array_equal(solve(weight.to(dtype), inputs=inputs.to(dtype)).codes, expected.codes)


def test_strides_do_not_matter():
    weight, inputs = layer()
    expected = solve(weight, inputs=inputs)
    spread = torch.zeros(96, 48)[:, ::2]
    spread.copy_(weight.T)
    assert not spread.T.is_contiguous()
    for given, activations in (
        (spread.T, inputs.reshape(4, 100, 96)),
        (weight.numpy()[::-1][::-1], np.asfortranarray(inputs.numpy())),
        (torch.nn.Parameter(weight), inputs),
    ):
        np.testing.assert_array_equal(solve(given, inputs=activations).codes, expected.codes)


def test_from_numpy_with_nothing_but_numpy():
    """As someone would use it who has arrays, and wants arrays."""
    random = np.random.default_rng(0)
    weight, inputs = random.normal(0, 0.02, (64, 96)), random.normal(size=(300, 96))
    result = quantize_layer(weight, GptqSettings(bits=3, group_size=32), inputs=inputs)
    packed = result.packed
    assert packed.qweight.shape == (96 * 3 // 32, 64) and packed.qzeros.shape == (3, 64 * 3 // 32)
    np.testing.assert_array_equal(dequantize(packed, 3), result.weight)
    assert np.linalg.norm((weight - result.weight) @ inputs.T) / np.linalg.norm(weight @ inputs.T) == pytest.approx(
        result.relative_error, rel=1e-3
    )


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "either the Hessian or the inputs"),
        ({"hessian": np.eye(96), "inputs": np.ones((2, 96))}, "either the Hessian or the inputs"),
        ({"hessian": np.eye(95)}, "does not fit 96 inputs"),
        ({"inputs": np.ones((2, 95))}, "do not fit 96 columns"),
        ({"inputs": np.ones((2, 96), int)}, "must be a matrix of floats"),
        ({"inputs": np.ones(96)}, "must be a matrix of floats"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        solve(layer()[0], **given)


@pytest.mark.parametrize("shape", [(0, 96), (4, 0)])
def test_weights_without_numbers_are_refused(shape):
    with pytest.raises(ValueError, match="nothing to quantize"):
        solve(torch.zeros(shape), inputs=torch.zeros(5, shape[1]))


@pytest.mark.parametrize(
    "changes", [{"bits": 5}, {"group_size": 48}, {"scales": "best"}, {"damp": -0.1}, {"damp": float("nan")}]
)
def test_settings_that_are_none_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        GptqSettings(**changes)
