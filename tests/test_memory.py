"""Invariants of the memory model and of what is found on it."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import sqlcoder_15b

from workbench import catalog
from workbench.checkpoint import Checkpoint
from workbench.config_tensors import config_tensors
from workbench.memory import weigh
from workbench.nearest import Ask, nearest_fit
from workbench.served import Served
from workbench.workload import MOST_BATCH

LIMIT = 8192
LLAMA = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": LIMIT,
    "tie_word_embeddings": False,
}  # fmt: skip
CASES = [
    (recipe, profile)
    for recipe in catalog.recipe_names()
    for profile in catalog.profile_names()
    if catalog.get_profile(profile).backend in catalog.get_recipe(recipe).backends
]
cases = st.sampled_from(CASES)
contexts, batches, beams = st.integers(1, LIMIT), st.integers(1, 64), st.integers(1, 8)


@cache
def served(model):
    if model == "15b":
        return Served(sqlcoder_15b(), 100)
    tensors = config_tensors(LLAMA, Path("nowhere"))
    return Served(Checkpoint("org/llama", Path("nowhere"), None, LLAMA, tensors, from_config=True), 100)


@cache
def get(recipe, profile):
    return catalog.get_recipe(recipe), catalog.get_profile(profile)


models = st.sampled_from(["15b", "llama"])


def memory(model, case):
    recipe, profile = get(*case)
    return served(model).memory(recipe, profile.backend)


@settings(deadline=None)
@given(models, cases, contexts, contexts, batches, beams)
def test_more_context_never_takes_less_memory(model, case, one, other, batch, beams):
    low, high = sorted((one, other))
    assert memory(model, case).peak(low, batch, beams) <= memory(model, case).peak(high, batch, beams)


@settings(deadline=None)
@given(models, cases, contexts, batches, batches, beams)
def test_a_larger_batch_never_takes_less_memory(model, case, context, one, other, beams):
    low, high = sorted((one, other))
    assert memory(model, case).peak(context, low, beams) <= memory(model, case).peak(context, high, beams)


@settings(deadline=None)
@given(models, cases, contexts, batches, beams)
def test_the_parts_add_up_and_the_cache_is_the_formulas(model, case, context, batch, beams):
    found = memory(model, case)
    parts = found.parts(context, batch, beams)
    assert parts.peak_memory_bytes == found.peak(context, batch, beams)
    least = batch * found.weights.shape.kv_cache_bytes(context, found.facts.cache_bytes)
    assert least <= parts.kv_cache_bytes
    assert parts.activation_bytes > 0


@settings(deadline=None)
@given(models, cases, batches, beams, st.integers(10**8, 10**11))
def test_the_largest_context_is_the_largest(model, case, batch, beams, usable):
    found = memory(model, case)
    largest = found.largest_context(usable, LIMIT, batch, beams)
    assert 0 <= largest <= LIMIT
    if largest:
        assert found.peak(largest, batch, beams) <= usable
    if largest < LIMIT:
        assert found.peak(largest + 1, batch, beams) > usable


@settings(deadline=None)
@given(models, cases, contexts, beams, st.integers(10**8, 10**11))
def test_the_largest_batch_is_the_largest(model, case, context, beams, usable):
    found = memory(model, case)
    largest = found.largest_batch(usable, context, beams)
    if largest:
        assert found.peak(context, largest, beams) <= usable
    if largest < MOST_BATCH:
        assert found.peak(context, largest + 1, beams) > usable


@settings(deadline=None)
@given(models, cases, contexts, batches, beams, st.integers(10**8, 10**11), st.integers(0, 10**10))
def test_what_fits_a_memory_fits_a_larger_one(model, case, context, batch, beams, usable, more):
    found = memory(model, case)
    assert found.largest_context(usable, LIMIT, batch, beams) <= found.largest_context(
        usable + more, LIMIT, batch, beams
    )
    assert found.largest_batch(usable, context, beams) <= found.largest_batch(usable + more, context, beams)


@settings(deadline=None)
@given(models, cases, contexts, batches, beams)
def test_the_nearest_thing_that_fits_does_fit(model, case, context, batch, beams):
    recipe, profile = get(*case)
    ask = Ask(context, batch, beams, 1100)
    if memory(model, case).peak(context, batch, beams) <= profile.usable_bytes:
        return  # nothing nearer is asked for
    found = nearest_fit(served(model), recipe, profile, ask)
    if found is None:
        return
    there = catalog.get_profile(found.profile)
    other = catalog.get_recipe(found.recipe)
    assert there.backend in other.backends
    need = served(model).memory(other, there.backend).peak(found.context, found.batch, beams)
    assert need <= there.usable_bytes
    assert found.sentence
    same = (found.profile.partition(":")[0], found.recipe, found.context, found.batch)
    assert same != (profile.name, recipe.name, context, batch) or there.chosen_gib > profile.chosen_gib


@pytest.mark.parametrize(
    ("recipe", "profile", "ask", "word"),
    [
        ("gguf-q8_0", "rtx4090", Ask(8192, 40, 1, 1100), "tokens of context"),  # half the cache does
        ("fp16", "rtx4090", Ask(8192, 1, 4, 1100), "fits"),  # no context makes 31 GB of weights fit
        ("mps", "m2-max:32", Ask(8192, 1, 4, 1100), "gguf-q8_0 fits"),
    ],
)
def test_the_nearest_changes_least(recipe, profile, ask, word):
    chosen, machine = catalog.get_recipe(recipe), catalog.get_profile(profile)
    found = nearest_fit(served("15b"), chosen, machine, ask)
    assert word in found.sentence


def test_of_the_15b_16_bits_on_a_small_card_8_bits_are_near():
    recipe, profile = get("fp16", "rtx4090")
    found = nearest_fit(served("15b"), recipe, profile, Ask(8192, 1, 4, 1100))
    assert (found.profile, found.recipe) == ("rtx4090", "int8")


def test_the_weights_are_all_there():
    found = weigh(sqlcoder_15b())
    assert found.total == 15_517_456_384
    assert found.head == 0  # tied
    assert found.embedding == 49152 * 6144
    assert found.widest == 24576 * 6144
    assert not found.gated


# Logged by llama.cpp itself ("CUDA0 compute buffer size") for Llama 2 7B and Llama 3 8B, 512 tokens at a time.
@pytest.mark.parametrize(("vocab", "ffn", "mib"), [(32000, 11008, 70.5), (128256, 14336, 258.5)])
def test_llama_cpps_compute_buffer_is_as_it_logs_it(vocab, ffn, mib):
    config = {**LLAMA, "vocab_size": vocab, "intermediate_size": ffn}
    tensors = config_tensors(config, Path("nowhere"))
    model = Served(Checkpoint("org/llama", Path("nowhere"), None, config, tensors, from_config=True), 100)
    found = model.memory(catalog.get_recipe("gguf-q4_k_m"), "cuda").parts(4096)
    assert found.activation_bytes == pytest.approx(mib * 2**20, rel=0.01)
