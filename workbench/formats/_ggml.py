"""Rows of a tensor in one of ggml's types: by our own kernels, or by ggml itself through ctypes.

``workbench/kernels/ggml.py`` writes ggml's very bytes many times faster. What it does not do, quantizing with an
importance matrix, goes to ggml's C library, which ``libggml-python`` ships: ``ggml_quantize_chunk`` is its one entry to
every type. Rows are independent, and neither way holds the interpreter's lock, so threads share a tensor.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import CheckpointError, PrerequisiteError, WorkbenchError
from workbench.formats._floats import cast, raw
from workbench.formats._gguf_types import BLOCKS, PLAIN, TYPE_NUMBERS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

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


def pack(rows: torch.Tensor, kind: str, name: str, importance: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """Rows of a tensor in one of ggml's types; on one thread, others may pack other rows.

    Args:
        rows: any float dtype; the last dimension is divisible by the type's block.
        kind: a key of ``BLOCKS``.
        name: of the tensor, for errors.
        importance: of each column, where an importance matrix is given; plain types take no notice of it.

    Returns:
        The file's bytes, flat.

    Raises:
        WorkbenchError: the weights hold infinities or NaN, or numbers beyond float16 that are to be one.
    """
    import numpy as np
    import torch

    from workbench.kernels.ggml import SUPPORTED, quantize

    if kind in PLAIN:
        plain: NDArray[np.uint8] = raw(cast(name, rows, getattr(torch, PLAIN[kind])))
        return plain
    if kind not in SUPPORTED or importance is not None:
        return _pack_by_library(rows, kind, name, importance)
    matrix = rows.reshape(-1, rows.shape[-1])
    source = {torch.float16: "F16", torch.bfloat16: "BF16"}.get(matrix.dtype, "F32")
    values = matrix.float().contiguous().numpy() if source == "F32" else matrix.contiguous().view(torch.uint16).numpy()
    weights, size = BLOCKS[kind]
    out = np.empty((len(matrix), matrix.shape[1] // weights * size), np.uint8)
    try:
        quantize(kind, values, out, source)
    except WorkbenchError as error:
        raise CheckpointError(f"tensor {name}: {error}") from error
    return out.reshape(-1)


def _pack_by_library(
    rows: torch.Tensor, kind: str, name: str, importance: NDArray[np.float32] | None
) -> NDArray[np.uint8]:
    """The same by ggml itself."""
    import numpy as np

    source = rows.reshape(-1, rows.shape[-1]).float().contiguous()
    if not source.isfinite().all():
        raise CheckpointError(f"tensor {name}: it holds infinities or NaN and cannot be quantized")
    count, width = source.shape
    weights, size = BLOCKS[kind]
    target = np.empty(count * width // weights * size, np.uint8)
    lib, number = library(), TYPE_NUMBERS[kind]
    columns = None if importance is None else np.ascontiguousarray(importance, np.float32)
    pointer = None if columns is None else columns.ctypes.data
    lib.ggml_quantize_init(number)
    written = lib.ggml_quantize_chunk(number, source.data_ptr(), target.ctypes.data, 0, count, width, pointer)
    if written != target.nbytes:
        raise WorkbenchError(
            f"ggml wrote {written} bytes of {kind} where {target.nbytes} were due; reinstall: {INSTALL}"
        )
    return target
