"""What is done to a large symmetric matrix in place, tile by tile, against torch on the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels._tiles import edges, mirror, order_both_ways, restore, transpose_into, upper_tiles
from workbench.kernels._upper_factor import factorise_in_place, inverses_of_blocks
from workbench.kernels.hessian import TOKENS, add_inputs, new_hessian
from workbench.workers import Workers

SIZES = st.integers(1, 70)


@given(SIZES, SIZES, st.booleans())
@settings(deadline=None, max_examples=40)
def test_transposed_parts(rows, columns, part):
    whole = torch.randn(rows + 4, columns + 4)
    source = whole[1:-3, 2:-2] if part else whole[:rows, :columns].contiguous()
    target = torch.full((columns + 2, rows + 3), 7.0)
    transpose_into(target[1:-1, :-3], source)
    assert torch.equal(target[1:-1, :-3], source.t())
    assert bool((target[0] == 7).all()) and bool((target[:, -3:] == 7).all())


@given(SIZES, st.integers(1, 40), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_reordered_in_place(size, step, random):
    order = torch.tensor(random.sample(range(size), size))
    upper = torch.randn(size, size).triu()
    whole = upper + upper.triu(1).t()
    with Workers(2) as workers:
        mirror(upper, step, workers)
        assert torch.equal(upper, whole)
        order_both_ways(upper, order, step, workers)
        assert torch.equal(upper, whole[order][:, order])
        changed = upper.tril() + torch.full_like(upper, 9.0).triu(1)
        restore(changed, step, workers)
        changed.diagonal().copy_(upper.diagonal())  # left to the caller
        assert torch.equal(changed, upper)


def test_every_tile_once():
    seen = torch.zeros(23, 23)
    for rows, columns in upper_tiles(edges(23, 5)):
        seen[rows, columns] += 1
    assert bool((seen.triu() == torch.ones(23, 23).triu()).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_factor_by_products_alone(dtype):
    """Several tiles with several blocks each, a condition of some 1e5, nothing below the diagonal touched."""
    size = 700
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(2 * size, size, dtype=torch.float64, generator=generator)
    inputs *= torch.randn(size, dtype=torch.float64, generator=generator).mul(1.5).exp()
    exact = inputs.t() @ inputs
    exact.diagonal().add_(0.001 * exact.diagonal().mean())
    matrix = exact.to(dtype, copy=True)
    with Workers(2) as workers:
        assert factorise_in_place(matrix, 300, workers)
        inverses = inverses_of_blocks(matrix, 128, workers)
    upper = matrix.double().triu()
    sizes = exact.diagonal().sqrt()
    off = ((upper @ upper.t() - exact) / sizes / sizes[:, None]).abs().max()
    assert float(off) < (2e-6 if dtype == torch.float32 else 1e-13)
    assert torch.equal(matrix.tril(-1), exact.to(dtype).tril(-1))
    corner = matrix[128:256, 128:256].double().triu() @ inverses[1].double()
    torch.testing.assert_close(corner, torch.eye(128, dtype=torch.float64), rtol=0, atol=1e-4)


def test_what_is_not_definite_is_found_out():
    matrix = torch.eye(300)
    matrix[20, 20] = -1
    with Workers(1) as workers:
        assert not factorise_in_place(matrix, 128, workers)


def test_a_hessian_summed_over_many_tokens_is_near_the_exact_one():
    width = 200
    inputs = torch.randn(3 * TOKENS + 17, width, generator=torch.Generator().manual_seed(2)) + 0.5
    exact = inputs.double().t() @ inputs.double()
    hessian = new_hessian(width)
    with Workers(2) as workers:
        for part in inputs.split(1500):
            add_inputs(hessian, part, workers)
        halves = new_hessian(width)
        add_inputs(halves, inputs.bfloat16()[None], workers)  # as the model computes, with a dimension for the batch
    largest = float(exact.diagonal().max())
    assert float((hessian.double() - exact).triu().abs().max()) < 2e-6 * largest
    rounded = inputs.bfloat16().double()
    assert float((halves.double() - rounded.t() @ rounded).triu().abs().max()) < 2e-6 * largest
