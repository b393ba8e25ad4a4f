"""Packing: round trips over random layers, and the bit layout written out by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.kernels.packing import BITS, dequantize, pack, pack_rows, packed_pieces, unpack, unpack_rows


@st.composite
def layers(draw: st.DrawFn):
    bits = draw(st.sampled_from(BITS))
    codes_in_words = {2: 16, 3: 32, 4: 8, 8: 4}[bits]  # the fewest that fill words
    inputs, outputs = (codes_in_words * draw(st.integers(1, 16)) for _ in range(2))
    groups = draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = random.integers(0, 2**bits, (outputs, inputs)).astype(np.uint8)
    zeros = random.integers(1, 2**bits, (outputs, groups)).astype(np.uint8)
    scales = random.uniform(1e-4, 1e-1, (outputs, groups)).astype(np.float16)
    return bits, codes, scales, zeros, random.integers(0, groups, inputs).astype(np.int32)


@given(layers())
@settings(max_examples=60, deadline=None)
def test_what_was_packed_comes_back(layer):
    bits, codes, scales, zeros, g_idx = layer
    packed = pack(codes, scales, zeros, g_idx, bits)
    outputs, inputs = codes.shape
    assert packed.qweight.shape == (inputs * bits // 32, outputs) and packed.qweight.dtype == np.int32
    assert packed.qzeros.shape == (scales.shape[1], outputs * bits // 32) and packed.qzeros.dtype == np.int32
    for read, written in zip(unpack(packed, bits), (codes, scales, zeros), strict=True):
        np.testing.assert_array_equal(read, written)
    expected = scales.astype(np.float32)[:, g_idx] * (codes.astype(np.float32) - zeros.astype(np.float32)[:, g_idx])
    np.testing.assert_array_equal(dequantize(packed, bits), expected)


@given(layers(), st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_what_goes_to_a_file_piece_by_piece_is_the_packed_layer(layer, version):
    bits, codes, scales, zeros, g_idx = layer
    codes, g_idx = np.tile(codes, 9), np.tile(g_idx, 9)  # more inputs than a piece holds
    packed = pack(codes, scales, zeros, g_idx, bits, version)
    pieces = list(packed_pieces(codes, scales, zeros, g_idx, bits, version))
    whole = b"".join(part.tobytes() for part in (packed.qweight, packed.qzeros, packed.scales, packed.g_idx))
    assert b"".join(piece.tobytes() for piece in pieces) == whole
    assert len(pieces) == 3 + -(-codes.shape[1] // 512)
    np.testing.assert_array_equal(unpack(packed, bits, version)[2], zeros)


def test_a_wide_layer_goes_to_a_file_without_a_second_copy():
    codes = np.zeros((1024, 16384), np.uint8)
    grid = (np.ones((1024, 128), np.float16), np.full((1024, 128), 8, np.uint8), np.arange(16384) // 128)
    tracemalloc.start()
    try:
        written = sum(piece.nbytes for piece in packed_pieces(codes, *grid, bits=4))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert written == codes.size // 2 + 1024 * 128 // 2 + 2 * 1024 * 128 + 4 * 16384
    assert peak < written / 4


@pytest.mark.parametrize("bits", BITS)
def test_words_are_one_little_endian_stream_of_bits(bits):
    codes = np.random.default_rng(bits).integers(0, 2**bits, (64, 3)).astype(np.uint8)
    for column in range(3):
        stream = sum(int(code) << (bits * place) for place, code in enumerate(codes[:, column]))
        words = pack_rows(codes, bits)[:, column].view(np.uint32)
        assert sum(int(word) << (32 * place) for place, word in enumerate(words)) == stream
    np.testing.assert_array_equal(unpack_rows(pack_rows(codes, bits), bits), codes)


@given(layers(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_codes_are_packed_as_their_transposed_would_be(layer, wide):
    """Straight from rows of outputs, in pieces: the plain way's words."""
    bits, codes, scales, zeros, _ = layer
    codes = np.tile(codes, (1, 5 * wide))  # up to 640 inputs: more than are packed at a time
    *pieces, _, _, g_idx = packed_pieces(codes, scales, zeros, np.zeros(codes.shape[1], np.int32), bits)
    np.testing.assert_array_equal(np.concatenate(pieces), pack_rows(np.ascontiguousarray(codes.T), bits))
    np.testing.assert_array_equal(
        pack(codes[:, ::-1][:, ::-1], scales, zeros, g_idx, bits).qweight, np.concatenate(pieces)
    )


@pytest.mark.parametrize(("inputs", "top"), [(31, 1), (544, 16)])
def test_codes_that_do_not_fit_are_refused(inputs, top):
    codes = np.zeros((32, inputs), np.uint8)
    codes[-1, -1] = top
    ones = np.ones((32, 1))
    with pytest.raises(ValueError, match="cannot be packed"):
        pack(codes, ones.astype(np.float16), ones.astype(np.uint8), np.zeros(inputs, np.int32), 4)


def test_zeros_are_stored_minus_one():
    """The value every symmetric 4-bit checkpoint on the Hub holds: zero point 8, stored as 7."""
    ones = np.ones((32, 1))
    packed = pack(np.zeros((32, 32), np.uint8), ones.astype(np.float16), np.full((32, 1), 8, np.uint8), np.zeros(32), 4)
    assert (packed.qzeros.view(np.uint32) == 0x77777777).all()


def test_a_zero_point_of_zero_is_refused():
    layer = (np.zeros((32, 32), np.uint8), np.ones((32, 1)), np.zeros((32, 1), np.uint8), np.zeros(32), 4)
    with pytest.raises(ValueError, match="zero point of 0"):
        pack(*layer)
    assert not pack(*layer, version=2).qzeros.any()


@pytest.mark.parametrize(("rows", "top"), [(31, 1), (32, 16)])
def test_what_does_not_fit_is_refused(rows, top):
    with pytest.raises(ValueError, match="cannot be packed"):
        pack_rows(np.full((rows, 2), top, np.uint8), 4)
