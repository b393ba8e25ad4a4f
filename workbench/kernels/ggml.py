"""Quantize to ggml's block types, byte for byte as ggml does and many times faster.

ggml's own routines for the K-quants search the best scale of each small group of weights one weight at a time: 15 to 90
million weights a second on one core. Blocks are independent, so here sixteen of them are searched side by side,
one in each lane of the vector unit, every lane doing ggml's operations in ggml's order: the same file about ten times
sooner with AVX-512 (three times for Q3_K, whose search is mostly waiting for divisions), three to four with SSE2.

    out = np.empty((rows, width // 256 * 144), np.uint8)
    quantize("Q4_K", weights, out)                          # float32 (rows, width)
    quantize("Q4_K", halves.view(np.uint16), out, "F16")    # straight from the checkpoint's 16 bits

What "the same" rests on. The routines are those without an importance matrix (``ggml_quantize_chunk`` with a
null pointer). float32 arithmetic without fused multiply-add has one answer on every processor, and the x86-64 builds
of ggml that are made for any machine, the PyPI wheel for one, compute so too. A ggml compiled with
``-march=native`` or ``-ffast-math`` fuses or reorders, and differs from those builds as it does from this.
Subnormal weights and scales, zero blocks and scales that overflow half precision come out as in ggml. Infinities and
NaN are refused: there C leaves ggml's conversions to integers undefined.

A call runs on one thread, without the interpreter's lock and with scratch of its own: share a
tensor among threads by rows. The first call of a type compiles it, a few seconds; the machine code is kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.kernels import _ggml_plain, _ggml_q2_k, _ggml_q3_k, _ggml_q4_k, _ggml_q6_k
from workbench.kernels._ggml_tiles import SOURCES

_Kernel = Callable[..., bool]

# Weights and bytes of a block, kernel, and what the kernel takes besides source and target.
_TYPES: dict[str, tuple[int, int, _Kernel, tuple[Any, ...]]] = {
    "Q4_0": (32, 18, _ggml_plain.quantize_q4_0, ()),
    "Q5_0": (32, 22, _ggml_plain.quantize_q5_0, ()),
    "Q5_1": (32, 24, _ggml_plain.quantize_q5_1, ()),
    "Q8_0": (32, 34, _ggml_plain.quantize_q8_0, ()),
    "Q2_K": (256, 84, _ggml_q2_k.quantize_q2_k, (_ggml_q2_k.NUMERATORS,)),
    "Q3_K": (256, 110, _ggml_q3_k.quantize_q3_k, ()),
    "Q4_K": (256, 144, _ggml_q4_k.quantize_q4_k, (_ggml_q4_k.NUMERATORS_Q4_K, 15)),
    "Q5_K": (256, 176, _ggml_q4_k.quantize_q4_k, (_ggml_q4_k.NUMERATORS_Q5_K, 31)),
    "Q6_K": (256, 210, _ggml_q6_k.quantize_q6_k, (_ggml_q6_k.TRIALS,)),
}

SUPPORTED: frozenset[str] = frozenset(_TYPES)
BLOCKS = {kind: (weights, size) for kind, (weights, size, _, _) in _TYPES.items()}


def quantize(kind: str, rows: NDArray[Any], out: NDArray[np.uint8], source: str = "F32") -> None:
    """Quantize rows of weights.

    Args:
        kind: one of ``SUPPORTED``.
        rows: ``(n, width)``, contiguous; float32, or the bits of 16-bit floats as uint16. The width is
            divisible by the type's block.
        out: ``(n, width // block * bytes of a block)``, contiguous; receives the blocks.
        source: what the bits of ``rows`` are: ``F32``, ``F16`` or ``BF16``.

    Raises:
        WorkbenchError: the weights hold infinities or NaN; what ``out`` holds then means nothing.
        ValueError: an unknown type, or arrays that do not fit it or each other.
    """
    if kind not in _TYPES or source not in SOURCES:
        raise ValueError(f"cannot quantize {source} to {kind}; known: {', '.join(SOURCES)} to {', '.join(_TYPES)}")
    block, size, kernel, settings = _TYPES[kind]
    wanted = np.float32 if source == "F32" else np.uint16
    if rows.ndim != 2 or rows.dtype != wanted or not rows.flags.c_contiguous or rows.shape[1] % block:
        raise ValueError(f"{kind} from {source} takes contiguous rows of {np.dtype(wanted)}, {block} at a time")
    due = rows.shape[0], rows.shape[1] // block * size
    if out.shape != due or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"the target of {rows.shape} weights in {kind} is a contiguous uint8 array of {due}")
    data = rows.reshape(-1).view(np.uint8)
    data.flags.writeable = False  # a mapped file is so anyway: one type for the compiler, one compilation
    if not kernel(data, SOURCES[source], out.reshape(-1), *settings):
        raise WorkbenchError("the weights hold infinities or NaN and cannot be quantized; check the checkpoint")
