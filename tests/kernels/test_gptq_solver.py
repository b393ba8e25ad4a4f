"""The GPTQ solver against the paper's algorithm, written out plainly in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from workbench.errors import WorkbenchError
from workbench.kernels import hessian as tiles
from workbench.kernels.gptq import GptqResult, quantize_layer
from workbench.kernels.gptq_settings import GptqSettings
from workbench.kernels.hessian import factorise, new_hessian
from workbench.workers import Workers


@dataclasses.dataclass(frozen=True)
class How(GptqSettings):
    """Settings that are the paper's unless said otherwise."""

    desc_act: bool = False
    static_groups: bool = False
    scales: str = "range"


def add_inputs(hessian: torch.Tensor, inputs: torch.Tensor, threads: int = 2) -> None:
    with Workers(threads) as workers:
        tiles.add_inputs(hessian, inputs, workers)


def quantize(weight: torch.Tensor, hessian: torch.Tensor, how: How, threads: int = 2) -> GptqResult:
    with Workers(threads) as workers:
        return quantize_layer(weight, how, hessian=hessian, workers=workers)


def paper(weight: np.ndarray, hessian: np.ndarray, how: How) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 of arXiv 2210.17323 with the inverse Hessian's Cholesky factor; codes and rounded weights."""
    work, hessian = weight.astype(np.float64), hessian.astype(np.float64)
    columns, top = work.shape[1], 2**how.bits - 1
    group = columns if how.group_size == -1 else how.group_size
    order = np.argsort(-np.diag(hessian), kind="stable") if how.desc_act else np.arange(columns)
    static = [spanning(work[:, first : first + group], how) for first in range(0, columns, group)]
    work, hessian = work[:, order].copy(), hessian[order][:, order]
    hessian = hessian + how.damp * np.mean(np.diag(hessian)) * np.eye(columns)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    codes, rounded = np.zeros(work.shape, int), np.zeros_like(work)
    for j in range(columns):
        if how.static_groups:
            scale, zero = static[order[j] // group]
        elif j % group == 0:
            scale, zero = spanning(work[:, j : j + group], how)
        codes[:, j] = np.clip(np.rint(work[:, j] / scale) + zero, 0, top)
        rounded[:, j] = scale * (codes[:, j] - zero)
        work[:, j:] -= np.outer((work[:, j] - rounded[:, j]) / upper[j, j], upper[j, j:])
    back = np.argsort(order)
    return codes[:, back], rounded[:, back]


def spanning(values: np.ndarray, how: How) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zeros from minimum to maximum; scales in float16, as stored."""
    top = 2**how.bits - 1
    low, high = np.minimum(values.min(1), 0), np.maximum(values.max(1), 0)
    scale = 2 * np.maximum(-low, high) / top if how.symmetric else (high - low) / top
    zero = np.full(len(scale), (top + 1) // 2) if how.symmetric else np.clip(np.rint(-low / scale), 1, top)
    return scale.astype(np.float16).astype(np.float64), zero


def problem(columns: int, rows: int = 48, tokens: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and the Hessian of correlated inputs."""
    generator = torch.Generator().manual_seed(columns)
    mix = torch.randn(columns, columns, generator=generator) / columns**0.5
    inputs = torch.randn(tokens, columns, generator=generator) @ mix
    inputs += 0.1 * torch.randn(tokens, columns, generator=generator)
    hessian = new_hessian(columns)
    for part in inputs.split(400):
        add_inputs(hessian, part)
    return 0.02 * torch.randn(rows, columns, generator=generator), hessian


def relative_error(weight: torch.Tensor, rounded: np.ndarray, hessian: torch.Tensor) -> float:
    original, moments = weight.double().numpy(), hessian.double().numpy()
    change = original - rounded
    return float(np.sqrt(np.sum((change @ moments) * change) / np.sum((original @ moments) * original)))


@pytest.mark.parametrize("static", [False, True], ids=["", "static"])
@pytest.mark.parametrize("desc_act", [False, True], ids=["", "desc_act"])
@pytest.mark.parametrize("group_size", [32, 64, 128, -1])
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_papers_integers(bits, symmetric, group_size, desc_act, static):
    columns = 200  # not divisible by any group
    how = How(bits, group_size, symmetric, desc_act, static)
    weight, hessian = problem(columns)
    codes, rounded = paper(weight.numpy(), hessian.numpy(), how)
    result = quantize(weight, hessian, how)
    # Float32 against float64: a value on the edge between two codes may fall to either side, and moves its row's rest.
    assert (result.codes == codes).mean() > 0.99
    assert result.relative_error == pytest.approx(relative_error(weight, rounded, hessian), rel=2e-2)
    assert result.relative_error == pytest.approx(relative_error(weight, result.weight, hessian), rel=1e-3)
    if static:
        np.testing.assert_array_equal(result.g_idx, np.arange(columns) // (columns if group_size == -1 else group_size))
    _check_consistent(result)


def _check_consistent(result: GptqResult) -> None:
    """The float weights are exactly what the stored parts stand for."""
    scales, zeros = (part.astype(np.float32)[:, result.g_idx] for part in (result.scales, result.zeros))
    np.testing.assert_array_equal(result.weight, scales * (result.codes.astype(np.float32) - zeros))
    assert result.zeros.min() >= 1


def test_better_than_rounding_to_nearest():
    weight, hessian = problem(256)
    plain = quantize(weight, torch.eye(256), How())  # unrelated inputs leave nothing to make up for
    scale = np.abs(weight[:, :128].numpy()).max(1) * 2 / 15
    np.testing.assert_array_equal(plain.scales[:, 0], scale.astype(np.float16))
    fitted = quantize(weight, hessian, How())
    assert fitted.relative_error < 0.75 * relative_error(weight, plain.weight, hessian)


def test_groups_follow_the_order_of_activations():
    weight, hessian = problem(128)
    result = quantize(weight, hessian, How(group_size=32, desc_act=True))
    order = torch.argsort(hessian.diagonal(), descending=True).numpy()
    np.testing.assert_array_equal(result.g_idx[order], np.arange(128) // 32)


def test_damping_grows_until_the_factorisation_succeeds():
    weight, hessian = problem(128, tokens=20)  # rank 20 of 128
    result = quantize(weight, hessian - 0.02 * torch.eye(128) * hessian.diagonal().mean(), How(damp=0.0))
    assert result.damp > 0
    assert np.isfinite(result.weight).all()


def test_inputs_that_span_nothing_are_an_error():
    weight, hessian = problem(64)
    indefinite = hessian - 100 * hessian.diagonal().max() * (torch.ones(64, 64) - torch.eye(64))
    with pytest.raises(WorkbenchError, match="span too little"):
        quantize(weight, indefinite, How(group_size=64))


@pytest.mark.parametrize("desc_act", [False, True])
def test_tiles_make_the_factor_of_the_whole(desc_act, monkeypatch):
    """Several tiles, a last one that is narrower, and another try with more damping: the same matrix comes back."""
    _, hessian = problem(320)
    hessian.diagonal().sub_(0.02 * hessian.diagonal().mean())  # not definite without more damping
    expected = hessian.double()
    monkeypatch.setattr(tiles, "TILE", 96)
    for width in (0, 2048):  # in float32, in float64
        monkeypatch.setattr(tiles, "DOUBLE_UP_TO", width)
        with Workers(2) as workers:
            factor = factorise(hessian.triu(), 0.001, desc_act, workers)
        upper = factor.upper.double().triu()
        whole = (upper @ upper.t() - torch.diag(factor.added))[factor.order.argsort()][:, factor.order.argsort()]
        assert factor.damp > 0.001
        torch.testing.assert_close(whole, expected, rtol=0, atol=2e-6 * float(expected.diagonal().max()))
        corner = upper[128:256, 128:256] @ factor.inverses[1].double()
        torch.testing.assert_close(corner, torch.eye(128, dtype=torch.float64), rtol=0, atol=1e-4)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 96)
    monkeypatch.setattr(tiles, "DOUBLE_UP_TO", 0)
    inputs = torch.randn(3000, 320, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(1200, 320, generator=torch.Generator().manual_seed(2))
    results = []
    for threads in (1, 2, 3):
        hessian = new_hessian(320)
        add_inputs(hessian, inputs, threads)
        results.append(quantize(weight, hessian, How(3, 32, desc_act=True), threads))
    for result in results[1:]:
        assert result.relative_error == results[0].relative_error
        for part in ("codes", "scales", "zeros", "g_idx"):
            np.testing.assert_array_equal(getattr(result, part), getattr(results[0], part))


def test_a_parameter_gets_what_the_codes_stand_for():
    weight, hessian = problem(64, rows=700)
    result = quantize(weight, hessian, How(group_size=64))
    result.write_to(weight)
    np.testing.assert_array_equal(weight.numpy(), result.weight)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "asymmetric"])
def test_searched_scales_have_the_least_error_of_all_that_are_tried(symmetric):
    weight, hessian = problem(128)
    unrelated = torch.eye(128)
    errors = {
        scales: relative_error(
            weight, quantize(weight, unrelated, How(3, 32, symmetric, scales=scales)).weight, unrelated
        )
        for scales in ("range", "mse", "hessian")
    }
    assert errors["mse"] < 0.97 * errors["range"]
    assert errors["hessian"] == pytest.approx(errors["mse"], rel=1e-6)  # all columns cost the same
    fitted = {
        scales: relative_error(weight, quantize(weight, hessian, How(3, 32, symmetric, scales=scales)).weight, hessian)
        for scales in ("range", "mse", "hessian")
    }
    assert fitted["hessian"] < fitted["range"]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_defaults_lower_the_error_and_leave_no_trace(bits):
    """Beside scales by the range, dynamic as gptqmodel's and static as llmcompressor's; inputs of uneven size."""
    weight, hessian = problem(256)
    sizes = torch.exp(torch.randn(256, generator=torch.Generator().manual_seed(1)))
    hessian = sizes[:, None] * hessian * sizes
    best = quantize(weight, hessian, GptqSettings(bits))
    np.testing.assert_array_equal(best.g_idx, np.arange(256) // 128)
    for desc_act in (False, True):
        for static in (False, True):
            ranged = quantize(weight, hessian, How(bits, desc_act=desc_act, static_groups=static))
            assert best.relative_error < 0.97 * ranged.relative_error
