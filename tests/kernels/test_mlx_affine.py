"""MLX's affine quantizer: by hand, against ``mx.quantize`` byte for byte, and there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels.mlx_affine import BITS, GROUP_SIZES, dequantize, quantize

DTYPES = (torch.float16, torch.bfloat16)


def mlx() -> Any:
    return pytest.importorskip("mlx.core", reason="the oracle is MLX's own quantizer: pip install 'mlx[cpu]'")


def mlx_bytes(weight: torch.Tensor, bits: int, group_size: int) -> list[bytes]:
    """Codes, scales and biases as MLX makes them."""
    mx = mlx()
    kind = {torch.float16: mx.float16, torch.bfloat16: mx.bfloat16}[weight.dtype]
    source = mx.array(weight.view(torch.int16).numpy()).view(kind)
    made = mx.quantize(source, group_size=group_size, bits=bits, stream=mx.cpu)
    return [np.array(array.view(mx.uint8)).tobytes() for array in made]


def our_bytes(weight: torch.Tensor, bits: int, group_size: int) -> list[bytes]:
    packed, scales, biases = quantize(weight.float().numpy(), bits, group_size)
    rest = [torch.from_numpy(array).to(weight.dtype).view(torch.int16).numpy() for array in (scales, biases)]
    return [array.tobytes() for array in (packed, *rest)]


def edge_cases(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Rows of 256 in which a quantizer may go wrong."""
    draw = torch.Generator().manual_seed(1)
    normal = torch.randn(32, 256, generator=draw)
    limits = torch.finfo(dtype)
    cases = {
        "weights": normal * 0.02,
        "zeros": torch.zeros(2, 256),
        "negative zeros": torch.zeros(2, 256) * -1,
        "constant": normal[:, :1].expand(-1, 256),
        "all negative": -normal.abs() - 0.5,
        "all positive": normal.abs() + 0.5,
        "one outlier down": torch.where(torch.arange(256) == 7, -9.0, normal * 0.01),
        "one outlier up": torch.where(torch.arange(256) == 7, 9.0, normal * 0.01),
        "as far down as up": torch.cat([normal[:, :128], -normal[:, :128]], dim=1),
        "steps below the smallest": normal * 1e-7,
        "hardly anything": normal * 1e-8,
        "subnormal": normal * limits.tiny,
        "halves between codes": torch.arange(256).float().expand(2, -1) % 31 / 2,
        "wide": normal / normal.abs().max() * min(limits.max, 1e30),
    }
    return {name: case.to(dtype) for name, case in cases.items()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("group_size", GROUP_SIZES)
def test_bytes_are_those_of_mlx(dtype, bits, group_size):
    different = [
        name
        for name, weight in edge_cases(dtype).items()
        if our_bytes(weight, bits, group_size) != mlx_bytes(weight, bits, group_size)
    ]
    assert different == []


@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.sampled_from(BITS), st.sampled_from(GROUP_SIZES))
@settings(max_examples=40, deadline=None)
def test_any_bits_of_finite_numbers_are_quantized_as_mlx_does(seed, dtype, bits, group_size):
    pattern = np.random.default_rng(seed).integers(-(2**15), 2**15, (4, 2 * group_size)).astype(np.int16)
    weight = torch.from_numpy(pattern).view(dtype)
    weight = torch.where(weight.abs() < min(torch.finfo(dtype).max, 1e37), weight, torch.zeros_like(weight))
    assert our_bytes(weight, bits, group_size) == mlx_bytes(weight, bits, group_size)


@given(st.integers(0, 2**32 - 1), st.sampled_from(BITS), st.sampled_from(GROUP_SIZES), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_what_comes_back_is_at_most_a_step_away(seed, bits, group_size, centre):
    weight = np.random.default_rng(seed).normal(centre, 1, (3, 4 * group_size)).astype(np.float32)
    packed, scales, biases = quantize(weight, bits, group_size)
    assert packed.shape == (3, 4 * group_size * bits // 8)
    assert scales.shape == biases.shape == (3, 4)
    error = np.abs(dequantize(packed, scales, biases, bits) - weight).reshape(3, 4, group_size)
    # Half a step inside the range; moving the scale so that zero is met may push the far end out by half a step more.
    assert (error <= np.abs(scales)[..., None] * 1.01 + 1e-6).all()
    if abs(centre) < 1:
        assert error.mean() < np.abs(scales).mean() * 0.3


def test_a_group_by_hand():
    weight = np.zeros((1, 32), np.float32)
    weight[0, :4] = [-1.5, 0.75, 0.1, -0.6]
    packed, scales, biases = quantize(weight, bits=4, group_size=32)
    # From -1.5 to 0.75 in 15 steps of 0.15: zero is 10 steps from the edge, and stays met exactly.
    np.testing.assert_allclose(scales, 0.15, rtol=1e-6)
    assert biases == -1.5
    assert packed[0, :3].tolist() == [0 | 15 << 4, 11 | 6 << 4, 10 | 10 << 4]


def test_the_larger_end_is_met_exactly_and_zero_nearly():
    weight = np.random.default_rng(3).normal(0, 0.02, (64, 128)).astype(np.float32)
    back = dequantize(*quantize(weight, 4, 128), 4)
    edge = np.abs(weight).argmax(1)
    np.testing.assert_array_equal(back[np.arange(64), edge], weight[np.arange(64), edge])
    weight[:, 5] = 0
    assert np.abs(dequantize(*quantize(weight, 4, 128), 4)[:, 5]).max() < 1e-7


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="96 columns"):
        quantize(np.zeros((1, 96), np.float32), 4, 64)
    with pytest.raises(ValueError, match="to 3 bits"):
        quantize(np.zeros((1, 64), np.float32), 3, 64)
