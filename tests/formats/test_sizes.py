"""Sizes before anything is made: every shipped recipe, on each architecture, against the files of a real conversion."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llamas import LLAMA3_ROPE, make_llama, sentencepiece_vocabulary, write_tokenizer_config, write_tokenizer_model
from starcoder import make_starcoder

from workbench import catalog
from workbench.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from workbench.checkpoint_files import TOKENIZER_FILES
from workbench.errors import WorkbenchError
from workbench.formats.base import ConversionContext
from workbench.recipe import Recipe

TEXTS = tuple(f"How many orders over {n}?\nSELECT count(*) FROM orders WHERE total > {n};" for n in range(4))


def without_promise(recipe: Recipe) -> Recipe:
    """The recipe for models of any size: what a promised kernel refuses is tested in ``test_gptq_layout.py``."""
    options = {key: value for key, value in recipe.options.items() if key != "kernel"}
    return recipe.model_copy(update={"options": options})


RECIPES = {name: without_promise(catalog.get_recipe(name)) for name in catalog.recipe_names()}


def sentencepiece(folder: Path) -> Path:
    """A Llama 2 with a vocabulary that ends between two blocks, positions stretched as in CodeLlama."""
    make_llama(folder, tokenizer=False, dtype="bfloat16", vocab_size=499, rope_theta=1e6)
    write_tokenizer_model(folder, sentencepiece_vocabulary())
    write_tokenizer_config(folder)
    return folder


# Tied and untied, biases, wide heads, rows that no block of 256 divides, one to twelve layers.
SHAPES: dict[str, Callable[[Path], Path]] = {
    "starcoder": lambda folder: make_starcoder(folder, layers=2),
    "narrow starcoder": lambda folder: make_starcoder(folder, layers=1, width=64),
    "mistral": lambda folder: make_llama(folder, "mistral", num_hidden_layers=1),
    "sentencepiece llama": sentencepiece,
    "odd llama": lambda folder: make_llama(
        folder, hidden_size=96, num_attention_heads=6, num_key_value_heads=2, head_dim=32, intermediate_size=160,
        num_hidden_layers=11, vocab_size=515, tie_word_embeddings=True, attention_bias=True,
        rope_parameters=LLAMA3_ROPE,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SHAPES[request.param](tmp_path_factory.mktemp("sizes") / "model")


def predicted(checkpoint: Checkpoint, recipe: Recipe) -> int | str:
    """Bytes, or why there can be none."""
    chosen = catalog.get_format(recipe.format)
    try:
        return chosen.predicted_bytes(checkpoint, chosen.options_model.model_validate(recipe.options))
    except WorkbenchError as error:
        return str(error)


def made(checkpoint: Checkpoint, recipe: Recipe, out: Path) -> int | str:
    """Bytes of the weight files of a conversion, or why there are none."""
    chosen = catalog.get_format(recipe.format)
    out.mkdir()
    try:
        options = chosen.options_model.model_validate(recipe.options)
        chosen.convert(checkpoint, options, out, ConversionContext(TEXTS))
        return sum(file.stat().st_size for file in chosen.weight_files(out))
    except WorkbenchError as error:
        return str(error)
    finally:
        shutil.rmtree(out)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_files_have_the_predicted_size(folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    assert catalog.get_format(recipe.format).size_is_exact(checkpoint)
    size = predicted(checkpoint, recipe)
    assert isinstance(size, int)
    assert made(checkpoint, recipe, tmp_path / "out") == size


def test_a_config_is_as_good_as_the_weights(folder: Path, tmp_path: Path) -> None:
    checkpoint, described = open_checkpoint(str(folder)), tmp_path / folder.name
    described.mkdir()
    shutil.copy(folder / "config.json", described)
    alone = peek_checkpoint(str(described))
    for recipe in RECIPES.values():
        size, exact = predicted(checkpoint, recipe), catalog.get_format(recipe.format).size_is_exact(alone)
        assert exact == (recipe.format != "gguf")
        assert predicted(alone, recipe) == (size if exact else pytest.approx(size, abs=60_000))
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copy(folder / name, described)
    for recipe in RECIPES.values():
        assert catalog.get_format(recipe.format).size_is_exact(alone)
        assert predicted(alone, recipe) == predicted(checkpoint, recipe)


def test_the_order_of_the_source_is_of_no_matter(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    turned = dataclasses.replace(checkpoint, tensors=dict(reversed(checkpoint.tensors.items())))
    for recipe in RECIPES.values():
        assert predicted(turned, recipe) == predicted(checkpoint, recipe)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"multi_query": False}, ("gguf", "mlx")),
        ({"activation_function": "relu"}, ("mlx", "onnx")),
        ({"n_embd": 72, "n_head": 1}, ("gptq",)),
    ],
)
def test_what_cannot_be_made_has_no_size(changes: dict[str, Any], refused: tuple[str, ...], tmp_path: Path) -> None:
    """The plan and the conversion refuse the same, in the same words, from the config alone and with the weights."""
    import torch
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    sizes = {"n_embd": 64, "n_head": 2, "n_layer": 1, "n_inner": 128, "vocab_size": 96, "n_positions": 32}
    torch.manual_seed(0)
    GPTBigCodeForCausalLM(GPTBigCodeConfig(**{**sizes, **changes})).half().save_pretrained(tmp_path / "model")
    checkpoint = open_checkpoint(str(tmp_path / "model"))
    for name in ("fp16", "int8", "gptq-4bit", "gguf-q8_0", "mlx-4bit", "onnx-int8"):
        size = predicted(checkpoint, RECIPES[name])
        assert isinstance(size, str) == (RECIPES[name].format in refused), (name, size)
        if isinstance(size, str):
            assert made(checkpoint, RECIPES[name], tmp_path / "out") == size
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "alone" / "model").mkdir(parents=True)
    (tmp_path / "alone" / "model" / "config.json").write_text(json.dumps(config))
    alone = peek_checkpoint(str(tmp_path / "alone" / "model"))
    assert {name for name in RECIPES if isinstance(predicted(alone, RECIPES[name]), str)} == {
        name for name in RECIPES if RECIPES[name].format in refused
    }
