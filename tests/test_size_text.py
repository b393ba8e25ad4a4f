"""Sizes as a reader is told them."""

from hypothesis import given
from hypothesis import strategies as st

from workbench.hardware import GIB
from workbench.sizes import size_text, told_apart


def test_sizes_are_told_in_binary_units():
    assert [size_text(n) for n in (5, 2048, 3 * 1024**2, 1.5 * 1024**3)] == ["5 B", "2.0 KiB", "3.0 MiB", "1.5 GiB"]


def test_what_differs_by_little_gets_more_digits():
    assert told_apart(7 * GIB, 22.06 * GIB) == ("7.0", "22.1")
    assert told_apart(22.14 * GIB, 22.06 * GIB) == ("22.14", "22.06")
    assert told_apart(3 * GIB, 3 * GIB) == ("3.0", "3.0")


@given(st.integers(0, 2**40), st.integers(-3, 3))
def test_sizes_that_differ_never_look_alike(size, more):
    first, second = told_apart(size, size + more)
    assert (first != second) == (more != 0)
    assert abs(float(first) - size / GIB) <= 0.051
