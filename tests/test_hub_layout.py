"""Where files of packages lie in a repository, and which packages a listing holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.hub_layout import belongs_to_root, eval_result_copy, packages_in, place

NAMES = ["manifest.json", "nano.Q4_K_M.gguf", "README.md", ".eval_results/cpu.yaml", "sub/other.gguf", "template"]


@pytest.mark.parametrize(
    ("format", "name", "expected"),
    [
        ("int8", "model.safetensors", "model.safetensors"),
        ("onnx", "sub/manifest.json", "sub/manifest.json"),
        ("gguf", "nano.Q4_K_M.gguf", "nano.Q4_K_M.gguf"),
        ("gguf", "manifest.json", "gguf-q4_k_m/manifest.json"),
        ("gguf", "sub/nano.gguf", "gguf-q4_k_m/sub/nano.gguf"),
        ("gguf", ".eval_results/cpu.yaml", "gguf-q4_k_m/.eval_results/cpu.yaml"),
    ],
)
def test_places(format, name, expected):
    assert place(format, "gguf-q4_k_m", name) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], {}),
        (["README.md", "model.safetensors"], {}),
        (["manifest.json", "model.safetensors", "sub/manifest.json"], {"": ""}),
        (["b/manifest.json", "x.gguf", "a/manifest.json", "README.md"], {"a": "a/", "b": "b/"}),
        (["a/deeper/manifest.json", "a/README.md"], {}),
        (["../manifest.json", "A b/manifest.json", "/manifest.json"], {}),
    ],
)
def test_packages_of_a_listing(names, expected):
    assert packages_in(names) == expected


@given(st.lists(st.sampled_from(["q4", "q8", "iq"]), unique=True, min_size=1))
def test_packages_side_by_side_are_found_again_and_share_no_path(recipes):
    placed = [place("gguf", recipe, name.replace("Q4_K_M", recipe)) for recipe in recipes for name in NAMES]
    assert len(set(placed)) == len(placed)
    assert packages_in(placed) == {recipe: f"{recipe}/" for recipe in sorted(recipes)}
    assert not any(map(belongs_to_root, placed))


def test_copies_of_evaluation_results_bear_their_recipe():
    assert eval_result_copy("q4", ".eval_results/cpu.yaml") == ".eval_results/q4.cpu.yaml"
    assert eval_result_copy("q4", "README.md") is None
    assert belongs_to_root(".eval_results/q4.cpu.yaml")
    assert not belongs_to_root("q4/manifest.json")
