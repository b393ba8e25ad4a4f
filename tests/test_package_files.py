"""Names of files that come from strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.package_files import check_name, check_names


@pytest.mark.parametrize("name", ["config.json", ".eval_results/heldout.yaml", "a b.txt", "модель.gguf", "sub/x.bin"])
def test_names_that_are_fine(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", "C:x", "nul", "COM1.txt", "a\0b",
        "a\nb", "x.", "x ", "a" * 241, "/".join("abcdefghi"), "a\u202egpj.exe", "\ud800", "a|b", "~/x*",
    ],
)  # fmt: skip
def test_names_that_are_refused(name):
    with pytest.raises(ValueError, match=r"lies outside|no plain path|characters|no file name"):
        check_name(name)


@pytest.mark.parametrize("names", [["a", "A"], ["caf\u00e9", "cafe\u0301"], ["a", "a/b"], ["x", "x"]])
def test_names_that_are_in_each_other_s_way(names):
    with pytest.raises(ValueError, match=r"one file on some systems|which is a file"):
        check_names(names)


@given(st.text())
def test_what_passes_stays_inside(name):
    try:
        check_name(name)
    except ValueError:
        return
    assert not name.startswith("/")
    assert ".." not in name.split("/")
