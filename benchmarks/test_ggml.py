"""Our quantizers beside ggml's own, on one core: weights per second, and the ratio of the two.

Both are timed on the processor's clock in the same round, so a busy machine slows both alike.
"""

import ctypes
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from workbench.kernels.ggml import BLOCKS, SUPPORTED, quantize

NUMBERS = {
    "Q4_0": 2, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
}  # fmt: skip
ROWS, WIDTH = 512, 4096


@pytest.fixture(scope="module")
def weights():
    """Half precision, as a checkpoint holds them."""
    return (np.random.default_rng(0).standard_normal((ROWS, WIDTH)) * 0.02).astype(np.float16)


@pytest.fixture(scope="module")
def ggml_quantize_chunk():
    spec = find_spec("libggml")
    if spec is None or spec.origin is None:
        pytest.skip("pip install libggml-python")
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")
    lib = ctypes.CDLL(str(next(path for path in Path(spec.origin).parent.rglob("*ggml-base*") if path.name in names)))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    sizes = [ctypes.c_int64] * 3
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *sizes, ctypes.c_void_p]
    return lib.ggml_quantize_chunk


def cpu_seconds(function, *arguments) -> float:
    start = time.thread_time()
    function(*arguments)
    return time.thread_time() - start


@pytest.mark.benchmark(group="ggml types, one core")
@pytest.mark.parametrize("kind", sorted(SUPPORTED))
def test_quantize(benchmark, weights, ggml_quantize_chunk, kind):
    block, size = BLOCKS[kind]
    bits, widened = weights.view(np.uint16), weights.astype(np.float32)
    ours = np.empty((ROWS, WIDTH // block * size), np.uint8)
    theirs = np.empty_like(ours)
    stock = NUMBERS[kind], widened.ctypes.data, theirs.ctypes.data, 0, ROWS, WIDTH, None
    quantize(kind, bits, ours, "F16")
    pairs = [
        (cpu_seconds(quantize, kind, bits, ours, "F16"), cpu_seconds(ggml_quantize_chunk, *stock)) for _ in range(5)
    ]
    assert np.array_equal(ours, theirs)
    benchmark.extra_info["million_weights_per_s"] = round(weights.size / min(pair[0] for pair in pairs) / 1e6)
    benchmark.extra_info["million_weights_per_s_of_ggml"] = round(weights.size / min(pair[1] for pair in pairs) / 1e6)
    benchmark.extra_info["times_faster"] = round(float(np.median([pair[1] / pair[0] for pair in pairs])), 1)
    benchmark.pedantic(quantize, (kind, bits, ours, "F16"), rounds=10, warmup_rounds=1)
