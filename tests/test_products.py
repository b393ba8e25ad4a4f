"""Products by the quickest kernel: right for every layout, and the same however many threads there are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import products
from workbench.products import add_product, multiply, subtract_product
from workbench.workers import Workers


def matrix(rows: int, columns: int, layout: str) -> torch.Tensor:
    """Normal numbers in one of the ways in which a matrix may lie in memory."""
    generator = torch.Generator().manual_seed(rows * 1000 + columns)
    if layout == "columns":
        return torch.randn(columns, rows, generator=generator).t()
    if layout == "part":
        return torch.randn(rows + 3, columns + 5, generator=generator)[1:-2, 2:-3]
    if layout == "part of columns":
        return torch.randn(columns + 3, rows + 5, generator=generator)[1:-2, 2:-3].t()
    return torch.randn(rows, columns, generator=generator)


LAYOUTS = st.sampled_from(["rows", "columns", "part", "part of columns"])
SIZES = st.sampled_from([1, 2, 7, 31, 128, 300])


@given(SIZES, SIZES, SIZES, LAYOUTS, LAYOUTS, st.booleans())
@settings(deadline=None, max_examples=80)
def test_every_shape_and_layout(rows, columns, terms, left_layout, right_layout, add):
    left, right = matrix(rows, terms, left_layout), matrix(columns, terms, right_layout)
    exact = left.double() @ right.double().t()
    bound = 4e-6 * float(left.norm() * right.norm()) / max(rows, columns) ** 0.5 + 1e-6
    assert float((multiply(left, right) - exact).abs().max()) < bound
    base = matrix(rows, columns, "part")
    target = base.clone()
    (add_product if add else subtract_product)(target, left, right)
    changed = exact if add else -exact
    assert float((target - (base.double() + changed)).abs().max()) < bound


@pytest.mark.parametrize("terms", [64, 1024, 5000])
def test_nearly_as_exact_as_torch(terms):
    left, right = matrix(256, terms, "rows"), matrix(200, terms, "rows")
    exact = left.double() @ right.double().t()
    ours, torchs = multiply(left, right), left @ right.t()
    error, torchs_error = (float((found - exact).norm() / exact.norm()) for found in (ours, torchs))
    assert error < max(4 * torchs_error, 1e-6)


def test_a_linear_layer():
    layer = torch.nn.Linear(256, 192)
    inputs = torch.randn(3, 40, 256, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(multiply(inputs, layer.weight, layer.bias), layer(inputs).detach())
    assert not multiply(inputs, layer.weight, layer.bias).requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_stay_what_they_are(dtype):
    left, right = matrix(200, 128, "rows").to(dtype), matrix(200, 128, "rows").to(dtype)
    found = multiply(left, right)
    assert found.dtype == dtype
    assert torch.equal(found, left @ right.t())


def test_the_number_of_threads_changes_nothing():
    left, right = matrix(1000, 700, "rows"), matrix(640, 700, "rows")
    found = []
    for threads in (1, 3):
        with Workers(threads) as workers:
            found += list(workers.map(lambda _: multiply(left, right), range(6)))
    assert all(torch.equal(one, found[0]) for one in found)


def test_without_onednn_torch_multiplies(monkeypatch):
    left, right = matrix(256, 256, "rows"), matrix(256, 256, "part")
    monkeypatch.setattr(products, "has_onednn", lambda: False)
    torch.testing.assert_close(multiply(left, right), left @ right.t(), rtol=0, atol=0)
