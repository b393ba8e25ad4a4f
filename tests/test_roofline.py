"""The roofline: bounds that no engine beats, and what must grow with what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.roofline import Load, Rates, Reach, decode_terms, prompt_terms, seconds
from workbench.shape import ModelShape

LLAMA_7B = ModelShape(32, 4096, 32, 32, 128, 11008, 32000, 4096)
GROUPED_8B = ModelShape(32, 4096, 32, 8, 128, 14336, 128256, 8192)
shares = st.floats(0.05, 1)
REACHES = st.builds(Reach, weights=shares, compute=shares, attention=shares, layer_s=st.floats(0, 1e-3))
RATES = st.builds(Rates, bytes_per_s=st.floats(1e10, 1e13), flops=st.floats(1e11, 1e15))


def test_at_full_reach_a_step_takes_the_bytes_over_the_bandwidth():
    # 1 GB of weights and 256 tokens x 512 KiB of keys and values (2 x 32 layers x 4096 x 2 bytes) at 100 GB/s
    load = Load(LLAMA_7B, 1e9, 6.5e9)
    step = seconds(decode_terms(load, Rates(100e9, 1e12), 256), Reach(1.0, 1.0))
    assert step == pytest.approx((1e9 + 256 * 524288) / 100e9)


def test_a_prompt_takes_two_operations_per_weight_and_token():
    terms = prompt_terms(Load(LLAMA_7B, 4e9, 6.5e9), Rates(1e12, 100e12), 512)
    assert terms.products_s == pytest.approx(2 * 6.5e9 * 512 / 100e12)


def test_grouped_heads_read_their_keys_once():
    alone = decode_terms(Load(GROUPED_8B, 4e9, 7e9), Rates(1e12, 1e14), 1000, grouped=False)
    together = decode_terms(Load(GROUPED_8B, 4e9, 7e9), Rates(1e12, 1e14), 1000, grouped=True)
    assert alone.cache_s == pytest.approx(4 * together.cache_s)


def test_a_host_that_starts_each_kernel_bounds_a_step():
    quick = Load(LLAMA_7B, 1e6, 1e6)
    assert seconds(decode_terms(quick, Rates(1e12, 1e14), 1), Reach(1, 1, host_layer_s=1e-3)) == pytest.approx(0.032)


@given(RATES, REACHES, st.integers(1, 8192), st.floats(1e6, 1e11))
def test_no_step_beats_the_bandwidth(rates, reach, context, weight_bytes):
    load = Load(GROUPED_8B, weight_bytes, weight_bytes)
    once = (weight_bytes + GROUPED_8B.kv_cache_bytes(context)) / rates.bytes_per_s
    assert seconds(decode_terms(load, rates, context), reach) >= once * (1 - 1e-9)


@given(RATES, REACHES, st.integers(1, 4096), st.integers(1, 15))
def test_batches_answer_more_tokens_a_second_and_take_longer_a_step(rates, reach, context, rows):
    load = Load(GROUPED_8B, 4e9, 7e9)
    one, more = (seconds(decode_terms(load, rates, context, n), reach) for n in (rows, rows + 1))
    assert more >= one
    assert (rows + 1) / more >= rows / one * (1 - 1e-9)


@given(RATES, REACHES, st.integers(1, 4096), st.floats(1, 4))
def test_a_faster_machine_is_never_slower(rates, reach, tokens, factor):
    load = Load(GROUPED_8B, 4e9, 7e9)
    for faster in (Rates(rates.bytes_per_s * factor, rates.flops), Rates(rates.bytes_per_s, rates.flops * factor)):
        assert seconds(decode_terms(load, faster, tokens), reach) <= seconds(decode_terms(load, rates, tokens), reach)
        assert seconds(prompt_terms(load, faster, tokens), reach) <= seconds(prompt_terms(load, rates, tokens), reach)


@given(REACHES, st.integers(1, 4096), st.integers(1, 4096))
def test_more_tokens_take_longer(reach, fewer, more):
    load, rates = Load(GROUPED_8B, 4e9, 7e9), Rates(1e12, 1e14)
    fewer, more = sorted((fewer, more))
    for terms in (lambda n: prompt_terms(load, rates, n, pass_tokens=512), lambda n: decode_terms(load, rates, n)):
        assert seconds(terms(fewer), reach) <= seconds(terms(more), reach)
