"""The inner loop of packing, compiled: codes as the solver holds them straight to words as the checkpoint does.

The solver has a row of codes for each output, the layout a word for each 32 / bits inputs and its columns along the
outputs: a transposition. It is done tile by tile on the way, so no transposed copy of the codes is made, and a tile's
rows and words stay in the processor's cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._compile import compile_kept

PERIOD = 32  # codes that fill a whole number of words, whatever their bits
_OUTPUTS = 64  # of a tile


@compile_kept
def pack_transposed(codes: NDArray[np.uint8], first: int, bits: int, words: NDArray[np.uint32]) -> bool:
    """Pack some inputs of codes ``(out, in)``.

    Args:
        codes: contiguous.
        first: input to begin with.
        bits: of a code.
        words: ``(inputs * bits / 32, out)``, overwritten; its height tells how many inputs are packed.

    Returns:
        Whether every code fitted in its bits.
    """
    outputs, last = codes.shape[0], first + words.shape[0] * 32 // bits
    too_much = np.uint32(0)
    for begin in range(0, outputs, _OUTPUTS):
        for start in range(first, last, PERIOD):
            for output in range(begin, min(begin + _OUTPUTS, outputs)):
                held, filled, word = np.uint64(0), 0, (start - first) // PERIOD * bits
                for place in range(start, min(start + PERIOD, last)):
                    code = np.uint32(codes[output, place])
                    too_much |= code >> np.uint32(bits)
                    held |= np.uint64(code) << np.uint64(filled)
                    filled += bits
                    if filled >= 32:
                        words[word, output] = np.uint32(held & np.uint64(0xFFFFFFFF))
                        held >>= np.uint64(32)
                        filled -= 32
                        word += 1
    return bool(too_much == 0)
