"""The AutoGPTQ layout packed on a device, so that 4 bits of a weight cross the bus instead of a byte.

The same words as ``packing.py`` makes, which tells of the layout: 32 codes fill as many words as a code has bits.

Example::

    packed = pack_on_device(codes, scales, zeros, g_idx, bits=4)  # the PackedLayer of packing.pack
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.kernels.packing import WORD, PackedLayer, fills_words, stored_less

if TYPE_CHECKING:
    from torch import Tensor


def pack_on_device(
    codes: Tensor, scales: Tensor, zeros: Tensor, g_idx: Tensor, bits: int, version: int = 1
) -> PackedLayer:
    """A quantized layer in the layout, in the CPU's memory.

    Args:
        codes: ``(out, in)`` uint8, each below ``2**bits``.
        scales: ``(out, groups)`` float16.
        zeros: ``(out, groups)`` uint8, each at least 1 in version 1.
        g_idx: ``(in,)``.
        bits: 2, 3, 4 or 8.
        version: of the layout.

    Raises:
        ValueError: codes do not fill whole words, or a zero cannot be stored.
    """
    import numpy as np

    less = stored_less(version)
    if bool((zeros < less).any()):
        raise ValueError("a zero point of 0 cannot be stored in version 1 of the GPTQ layout")
    qweight = _pack_rows(codes.t().contiguous(), bits)
    qzeros = _pack_rows(zeros - less, bits).t().contiguous()
    parts = (qweight, qzeros, scales.t().contiguous(), g_idx.int())
    return PackedLayer(*(np.ascontiguousarray(part.cpu().numpy()) for part in parts))


def _pack_rows(codes: Tensor, bits: int) -> Tensor:
    """Pack along the first axis: ``(n, m)`` uint8 to int32 ``(n * bits / 32, m)``."""
    import torch

    rows, columns = codes.shape
    if not fills_words(rows, bits):
        raise ValueError(f"{rows} rows of codes cannot be packed in {bits} bits")
    if rows % WORD:
        codes = torch.nn.functional.pad(codes, (0, 0, 0, -rows % WORD))
    periods = codes.reshape(-1, WORD, columns)
    words = torch.zeros(len(periods), bits, columns, dtype=torch.int32, device=codes.device)
    for place in range(WORD):
        word, shift = divmod(place * bits, WORD)
        values = periods[:, place].int()
        words[:, word] |= values << shift
        if shift + bits > WORD:
            words[:, word + 1] |= values >> (WORD - shift)
    return words.reshape(-1, columns)[: rows * bits // WORD]
