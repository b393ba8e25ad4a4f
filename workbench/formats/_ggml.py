"""ggml's own quantizers, called through ctypes, a piece of rows per thread.

The PyPI distribution ``gguf`` packs Q8_0 and the old 4- and 5-bit types but none of the K-quants, whose scales
come from a search. ``libggml-python`` ships the C library itself; ``ggml_quantize_chunk`` is its one entry
to every type. Rows are independent and ctypes lets go of the interpreter lock during a call, so
threads share a tensor without changing a byte. The half-precision source is widened piece by piece: a
matrix of 15 billion parameters' worth of layers never stands in memory as float32.
"""

from __future__ import annotations

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.formats._gguf_types import BLOCKS, PLAIN, TYPE_NUMBERS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

PIECE_WEIGHTS = 1 << 21  # 8 MB of float32 in hand per thread
INSTALL = "pip install libggml-python"


@cache
def library() -> ctypes.CDLL:
    """ggml, loaded once.

    Raises:
        PrerequisiteError: it is not installed or cannot be loaded; the message says how to get it.
    """
    spec = find_spec("libggml")
    if spec is None or spec.origin is None:
        raise PrerequisiteError(f"quantizing to GGUF needs ggml; install it with: {INSTALL}")
    name = {"darwin": "libggml-base.dylib", "win32": "ggml-base.dll"}.get(sys.platform, "libggml-base.so")
    found = sorted(path for path in Path(spec.origin).parent.rglob(name) if path.is_file())
    if not found:
        raise PrerequisiteError(f"the installed libggml-python holds no {name}; reinstall it with: {INSTALL}")
    try:
        lib = ctypes.CDLL(str(found[0]))
    except OSError as error:
        raise PrerequisiteError(f"{found[0]} cannot be loaded ({error}); reinstall it with: {INSTALL}") from error
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,  # type
        ctypes.c_void_p,  # float32 source
        ctypes.c_void_p,  # destination
        ctypes.c_int64,  # first weight
        ctypes.c_int64,  # rows
        ctypes.c_int64,  # weights per row
        ctypes.c_void_p,  # importance matrix
    ]
    return lib


def pack(tensor: torch.Tensor, kind: str, threads: int | None = None) -> NDArray[np.uint8]:
    """A tensor in one of ggml's types.

    Args:
        tensor: any float dtype; its rows are the last dimension, divisible by the type's block.
        kind: a key of ``BLOCKS``.
        threads: default is one per processor; the bytes do not depend on it.

    Returns:
        The file's bytes, (rows, bytes per row).

    Raises:
        WorkbenchError: the weights hold infinities or NaN, which no block of integers can.
    """
    import numpy as np
    import torch

    rows = tensor.reshape(-1, tensor.shape[-1])
    if kind in PLAIN:
        dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
        plain: NDArray[np.uint8] = rows.to(dtype).contiguous().view(torch.uint8).numpy()
        return plain
    weights, size = BLOCKS[kind]
    out = np.empty((rows.shape[0], rows.shape[1] // weights * size), dtype=np.uint8)
    step = max(1, PIECE_WEIGHTS // rows.shape[1])
    library().ggml_quantize_init(TYPE_NUMBERS[kind])  # the tables are built before the threads start
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for done in [
            pool.submit(_quantize_rows, rows, out, kind, slice(i, i + step)) for i in range(0, len(out), step)
        ]:
            done.result()
    return out


def _quantize_rows(rows: torch.Tensor, out: NDArray[np.uint8], kind: str, part: slice) -> None:
    """Quantize some rows into their place."""
    source = rows[part].float().contiguous()
    if not source.isfinite().all():
        raise WorkbenchError("the weights hold infinities or NaN and cannot be quantized; check the checkpoint")
    target = out[part]
    count, width = source.shape
    written = library().ggml_quantize_chunk(
        TYPE_NUMBERS[kind], source.data_ptr(), target.ctypes.data, 0, count, width, None
    )
    if written != target.nbytes:
        raise WorkbenchError(
            f"ggml wrote {written} bytes of {kind} where {target.nbytes} were due; reinstall: {INSTALL}"
        )
