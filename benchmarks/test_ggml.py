"""Our quantizers beside ggml's own, on one core: the same bytes, and how many times as fast.

    python -m pytest benchmarks/test_ggml.py

Both are timed on the processor's clock, so what else runs on the machine counts little.

What limits them: a type that only rounds (Q8_0) is limited by reading 2 bytes and writing 1.06 for each weight; a
K-quant tries 7 to 20 scales for each group of weights and is limited by the vector unit: a dozen operations on each
weight and trial, of which sixteen go at a time with AVX-512. The share of the first limit is told below the tables:
near it there is nothing to gain, and far below it stands what searches.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from benchmarks.limits import Limits
from benchmarks.pairs import SIDES, Pair, in_turn, replayed, show
from workbench.kernels.ggml import BLOCKS, SUPPORTED, quantize

NUMBERS = {
    "Q4_0": 2, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
}  # fmt: skip
ROWS, WIDTH = 512, 4096


@pytest.fixture(scope="module")
def weights() -> Any:
    """Half precision, as a checkpoint holds them."""
    return (np.random.default_rng(0).standard_normal((ROWS, WIDTH)) * 0.02).astype(np.float16)


@pytest.fixture(scope="module")
def ggml_quantize_chunk() -> Any:
    spec = find_spec("libggml")
    if spec is None or spec.origin is None:
        pytest.skip("pip install libggml-python")
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")
    lib = ctypes.CDLL(str(next(path for path in Path(spec.origin).parent.rglob("*ggml-base*") if path.name in names)))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    sizes = [ctypes.c_int64] * 3
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *sizes, ctypes.c_void_p]
    return lib.ggml_quantize_chunk


def cpu_seconds(function: Callable[..., Any], *arguments: Any) -> Callable[[], float]:
    def timed() -> float:
        start = time.thread_time()
        function(*arguments)
        return time.thread_time() - start

    return timed


@pytest.fixture(scope="module", params=sorted(SUPPORTED))
def pair(request: pytest.FixtureRequest, weights: Any, ggml_quantize_chunk: Any, rounds: int) -> Iterator[Pair]:
    block, size = BLOCKS[request.param]
    bits, widened = weights.view(np.uint16), weights.astype(np.float32)
    ours = np.empty((ROWS, WIDTH // block * size), np.uint8)
    theirs = np.empty_like(ours)
    stock = NUMBERS[request.param], widened.ctypes.data, theirs.ctypes.data, 0, ROWS, WIDTH, None
    seconds = in_turn(
        cpu_seconds(quantize, request.param, bits, ours, "F16"), cpu_seconds(ggml_quantize_chunk, *stock), rounds
    )
    assert np.array_equal(ours, theirs)
    yield Pair("ggml (libggml-python)", *seconds)


@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("side", SIDES)
def test_quantize(benchmark: Any, pair: Pair, side: str, limits: Limits, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["pair"]
    benchmark.group = f"{kind} on one core"
    typical = median(pair.ours_s if side == "ours" else pair.peer_s)
    benchmark.extra_info["million_weights_per_s"] = round(ROWS * WIDTH / typical / 1e6, 1)
    if side == "ours":
        block, size = BLOCKS[kind]
        share = limits.bytes_share(ROWS * WIDTH * (2 + size / block), typical)
        benchmark.extra_info.update(share_of_limit=share, limit="copying as many bytes on one core")
    show(benchmark, pair, side)
