"""The AutoGPTQ layout: integers of a few bits packed into 32-bit words.

A linear layer with weights ``(out, in)`` is stored transposed, as the kernels read it: ``qweight`` packs along
the inputs, ``qzeros`` along the outputs, both as one little-endian stream of bits (3-bit codes straddle words).
The weight of output ``o`` and input ``i`` in group ``g = g_idx[i]`` is ``scales[g, o] * (code - zero)``.
Version 1 of the layout (``checkpoint_format: gptq``) stores every zero minus one, so a zero of 0
cannot be stored: it would borrow from its neighbour. Version 2 (``gptq_v2``) stores zeros as they are.

Source: auto_gptq/nn_modules/qlinear/qlinear_cuda.py, github.com/AutoGPTQ/AutoGPTQ (v0.7.1); for version 2
gptqmodel/utils/model.py, github.com/ModelCloud/GPTQModel (7.6.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._packing_words import pack_transposed

WORD = 32
BITS = (2, 3, 4, 8)
VERSIONS = {"gptq": 1, "gptq_v2": 2}  # by the name that configs give them
_PIECE_INPUTS = 512  # packed at a time where a layer goes to a file, a few megabytes of a wide one


@dataclass(frozen=True)
class PackedLayer:
    """One layer as the checkpoint stores it.

    Attributes:
        qweight: int32 ``(in * bits / 32, out)``.
        qzeros: int32 ``(groups, out * bits / 32)``.
        scales: float16 ``(groups, out)``.
        g_idx: int32 ``(in,)``, the group of each input.
    """

    qweight: NDArray[np.int32]
    qzeros: NDArray[np.int32]
    scales: NDArray[np.float16]
    g_idx: NDArray[np.int32]


def fills_words(count: int, bits: int) -> bool:
    """Whether so many codes fill whole words: multiples of 32 do always, of 8 at 4 bits."""
    return count * bits % WORD == 0


def pack_rows(codes: NDArray[np.uint8], bits: int) -> NDArray[np.int32]:
    """Pack integers along the first axis.

    Args:
        codes: ``(n, m)``, each below ``2**bits``; n as many as fill whole words (``fills_words``).
        bits: 2, 3, 4 or 8.

    Returns:
        int32 ``(n * bits / 32, m)``.

    Raises:
        ValueError: n codes do not fill whole words, or a code needs more bits.
    """
    rows, columns = codes.shape
    if not fills_words(rows, bits) or (codes.size and int(codes.max()) >> bits):
        raise ValueError(f"{rows} rows of codes up to {codes.max(initial=0)} cannot be packed in {bits} bits")
    if rows % WORD:
        codes = np.pad(codes, ((0, -rows % WORD), (0, 0)))
    periods = codes.reshape(-1, WORD, columns)
    words = np.zeros((len(periods), bits, columns), dtype=np.uint32)  # 32 codes fill `bits` words
    for place in range(WORD):
        word, shift = divmod(place * bits, WORD)
        values = periods[:, place].astype(np.uint32)
        words[:, word] |= values << np.uint32(shift)
        if shift + bits > WORD:
            words[:, word + 1] |= values >> np.uint32(WORD - shift)
    return words.reshape(-1, columns)[: rows * bits // WORD].view(np.int32)


def unpack_rows(words: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    """Undo ``pack_rows``: int32 ``(n * bits / 32, m)`` to uint8 ``(n, m)``."""
    stored, columns = words.shape
    whole = np.pad(words, ((0, -stored % bits), (0, 0))) if stored % bits else np.ascontiguousarray(words)
    source = whole.view(np.uint32).reshape(-1, bits, columns)
    codes = np.empty((source.shape[0], WORD, columns), dtype=np.uint8)
    mask = np.uint32((1 << bits) - 1)
    for place in range(WORD):
        word, shift = divmod(place * bits, WORD)
        value = source[:, word] >> np.uint32(shift)
        if shift + bits > WORD:
            value = value | (source[:, word + 1] << np.uint32(WORD - shift))
        codes[:, place] = value & mask
    return codes.reshape(-1, columns)[: stored * WORD // bits]


def pack(
    codes: NDArray[np.uint8],
    scales: NDArray[np.float16],
    zeros: NDArray[np.uint8],
    g_idx: NDArray[np.int32],
    bits: int,
    version: int = 1,
) -> PackedLayer:
    """A quantized layer in the layout.

    Args:
        codes: ``(out, in)``.
        scales: ``(out, groups)``.
        zeros: ``(out, groups)``, each at least 1 in version 1.
        g_idx: ``(in,)``.
        bits: 2, 3, 4 or 8.
        version: of the layout.

    Raises:
        ValueError: sizes that do not fill whole words, or a zero that cannot be stored.
    """
    *qweight, qzeros, stored_scales, stored_g_idx = packed_pieces(codes, scales, zeros, g_idx, bits, version)
    return PackedLayer(np.concatenate(qweight), qzeros, stored_scales, stored_g_idx)


def packed_pieces(
    codes: NDArray[np.uint8],
    scales: NDArray[np.float16],
    zeros: NDArray[np.uint8],
    g_idx: NDArray[np.int32],
    bits: int,
    version: int = 1,
) -> Iterator[NDArray[Any]]:
    """The same, made while it is written: pieces of ``qweight``, then ``qzeros``, ``scales`` and ``g_idx``.

    So the packed layer is never held whole beside the codes. Arguments and errors are those of ``pack``.
    """
    qzeros = _packed_zeros(zeros, bits, version)  # refuses before anything is written
    yield from _packed_codes(codes, bits)
    yield qzeros
    yield np.ascontiguousarray(scales.T.astype(np.float16))
    yield g_idx.astype(np.int32)


def _packed_codes(codes: NDArray[np.uint8], bits: int) -> Iterator[NDArray[np.int32]]:
    """``qweight`` of codes ``(out, in)``, some rows of it at a time."""
    outputs, inputs = codes.shape
    if not fills_words(inputs, bits):
        raise ValueError(f"codes of {inputs} inputs cannot be packed in {bits} bits: they fill no whole words")
    rows = np.ascontiguousarray(codes)
    for first in range(0, inputs, _PIECE_INPUTS):
        words = np.empty((min(_PIECE_INPUTS, inputs - first) * bits // WORD, outputs), np.uint32)
        if not pack_transposed(rows, first, bits, words):
            raise ValueError(f"codes up to {codes.max()} cannot be packed in {bits} bits")
        yield words.view(np.int32)


def _packed_zeros(zeros: NDArray[np.uint8], bits: int, version: int) -> NDArray[np.int32]:
    """``qzeros`` of zeros ``(out, groups)``."""
    less = np.uint8(stored_less(version))
    if zeros.size and int(zeros.min()) < less:
        raise ValueError("a zero point of 0 cannot be stored in version 1 of the GPTQ layout")
    return np.ascontiguousarray(pack_rows(zeros - less, bits).T)


def stored_less(version: int) -> int:
    """What a stored zero lacks."""
    return {1: 1, 2: 0}[version]


def unpack(
    layer: PackedLayer, bits: int, version: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.uint8]]:
    """Codes ``(out, in)``, scales ``(out, groups)`` and zeros ``(out, groups)`` of a stored layer."""
    codes = unpack_rows(layer.qweight, bits).T
    zeros = unpack_rows(np.ascontiguousarray(layer.qzeros.T), bits) + np.uint8(stored_less(version))
    return codes, layer.scales.T, zeros


def dequantize(layer: PackedLayer, bits: int, version: int = 1) -> NDArray[np.float32]:
    """The float weights ``(out, in)`` a stored layer stands for."""
    return np.ascontiguousarray(weights_of(*unpack(layer, bits, version), layer.g_idx))


def weights_of(
    codes: NDArray[np.uint8], scales: NDArray[np.float16], zeros: NDArray[np.uint8], g_idx: NDArray[np.int32]
) -> NDArray[np.float32]:
    """What codes stand for, ``scales * (codes - zeros)`` in float32, just as readers compute.

    Args:
        codes: ``(out, in)``, or some of these rows; of scales and zeros the same.
        scales: ``(out, groups)``.
        zeros: ``(out, groups)``.
        g_idx: ``(in,)``.
    """
    centred = codes.astype(np.float32) - zeros.astype(np.float32)[:, g_idx]
    weights: NDArray[np.float32] = centred * scales.astype(np.float32)[:, g_idx]
    return weights
