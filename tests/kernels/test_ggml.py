"""Our kernels against ggml's own, byte for byte: the oracle is the installed library."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

from workbench.errors import WorkbenchError
from workbench.kernels import _ggml_lanes, _ggml_q4_k
from workbench.kernels.ggml import BLOCKS, SUPPORTED, quantize

KINDS = sorted(SUPPORTED)
MODEL = Path(__file__).parents[2] / "workbench" / "nano" / "model" / "model.safetensors"
NUMBERS = {
    "Q4_0": 2, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
}  # fmt: skip


@cache
def oracle() -> ctypes.CDLL:
    spec = find_spec("libggml")
    if spec is None:
        pytest.skip("pip install libggml-python")
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")
    lib = ctypes.CDLL(str(next(path for path in Path(spec.origin).parent.rglob("*ggml-base*") if path.name in names)))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    for number in NUMBERS.values():
        lib.ggml_quantize_init(number)
    return lib


def stock(kind: str, rows: np.ndarray) -> np.ndarray:
    block, size = BLOCKS[kind]
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    out = np.empty((rows.shape[0], rows.shape[1] // block * size), np.uint8)
    oracle().ggml_quantize_chunk(NUMBERS[kind], rows.ctypes.data, out.ctypes.data, 0, *rows.shape, None)
    return out


def ours(kind: str, rows: np.ndarray, source: str = "F32") -> np.ndarray:
    block, size = BLOCKS[kind]
    out = np.full((rows.shape[0], rows.shape[1] // block * size), 0xA5, np.uint8)
    quantize(kind, rows, out, source)
    return out


def assert_same(kind: str, rows: np.ndarray, what: str = "") -> None:
    found, expected = ours(kind, rows), stock(kind, rows)
    size = BLOCKS[kind][1]
    wrong = (found != expected).reshape(-1, size).any(axis=1)
    assert not wrong.any(), f"{kind} {what}: {wrong.sum()} of {len(wrong)} blocks differ, first {wrong.argmax()}"


def bfloat16(rows: np.ndarray) -> np.ndarray:
    """The upper half of the bits: truncated, exact enough to make test data."""
    return (rows.view(np.uint32) >> 16).astype(np.uint16)


def special_rows(count: int = 37, width: int = 768) -> dict[str, np.ndarray]:
    """Weights no checkpoint should hold and some it will; 3 x 37 blocks are no multiple of sixteen."""
    rng = np.random.default_rng(0)
    shape = (count, width)
    normal = rng.standard_normal(shape).astype(np.float32)
    place = np.arange(count), rng.integers(0, width, count)
    outlier, monster = normal * np.float32(1e-3), normal.copy()
    outlier[place], monster[place] = 100, -3e38
    bits = rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    exponents = rng.integers(-140, 120, shape)
    rows = {
        "normal": normal,
        "zero": np.zeros(shape),
        "zeros of both signs": np.where(normal > 0, 0.0, -0.0),
        "constant rows": np.repeat(normal[:, :1], width, axis=1),
        "constant groups of 16": np.repeat(normal[:, : width // 16], 16, axis=1),
        "one outlier a row": outlier,
        "one monster a row": monster,
        "sparse": normal * (rng.random(shape) < 0.05),
        "nearly empty": normal * (rng.random(shape) < 0.005),
        "positive": np.abs(normal),
        "negative": -np.abs(normal),
        "close to one": 1 + normal * np.float32(1e-4),
        "very close to minus one": -1 - np.abs(normal) * np.float32(2e-7),
        "ties of halves": rng.integers(-16, 16, shape) / 2,
        "signs": np.sign(normal),
        "all exponents": normal * np.exp2(exponents),
        "an exponent a group": normal * np.repeat(np.exp2(exponents[:, : width // 16]), 16, axis=1),
        "any bits": np.where(np.isfinite(bits), bits, 0),
        "scales beyond half precision": normal * np.float32(65504 * 15),
    }
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in rows.items()}


def test_kept_machine_code_is_stamped_with_all_its_sources() -> None:
    """By default numba looks at the kernel's own file alone and would run code made of older helpers."""
    kernel = _ggml_q4_k.quantize_q4_k
    assert kernel._cache._cache_file._source_stamp == _ggml_lanes._stamp()


def test_the_oracle_has_the_same_blocks() -> None:
    oracle().ggml_type_size.restype = ctypes.c_size_t
    oracle().ggml_blck_size.restype = ctypes.c_int64
    for kind in KINDS:
        number = NUMBERS[kind]
        assert (oracle().ggml_blck_size(number), oracle().ggml_type_size(number)) == BLOCKS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundled_model(kind) -> None:
    for name, tensor in load_file(MODEL).items():
        if tensor.ndim == 2 and tensor.shape[1] % BLOCKS[kind][0] == 0:
            assert_same(kind, tensor.astype(np.float32), name)


@pytest.mark.parametrize("kind", KINDS)
def test_special_weights(kind) -> None:
    rows = special_rows()
    for name, array in rows.items():
        assert_same(kind, array, name)
    mixed = np.concatenate(list(rows.values()))
    assert_same(kind, np.random.default_rng(1).permutation(mixed), "all of them side by side")


@pytest.mark.parametrize("kind", KINDS)
def test_every_magnitude_from_subnormal_to_overflow(kind) -> None:
    rng = np.random.default_rng(2)
    limit = float(np.finfo(np.float32).max)
    for exponent in range(-150, 128, 2):
        rows = np.clip(rng.standard_normal((19, 256)) * 2.0**exponent, -limit, limit).astype(np.float32)
        assert_same(kind, rows, f"around 2^{exponent}")


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rows=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 18), st.just(256)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
        fill=st.sampled_from([np.float32(0), np.float32(-0.0), np.float32(0.02), np.float32(-1e-40)]),
    ),
)
def test_any_weights(kind, rows) -> None:
    assert_same(kind, rows)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    blocks=st.integers(1, 40),
    log_scale=st.floats(-45, 37),
    tail=st.floats(0.05, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_distribution(kind, blocks, log_scale, tail, seed) -> None:
    """Student's t: from tails as of a normal distribution to wild outliers."""
    weights = np.random.default_rng(seed).standard_t(tail, (blocks, 256)) * 10.0**log_scale
    limit = float(np.finfo(np.float32).max)
    assert_same(kind, np.clip(np.nan_to_num(weights), -limit, limit).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_million_weights(kind) -> None:
    for seed in range(25):
        rows = np.random.default_rng(seed).standard_normal((1024, 4096), dtype=np.float32)
        assert_same(kind, rows * np.float32(0.02), f"seed {seed}")


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bit_sources_are_widened_exactly(kind) -> None:
    """All 65536 patterns of both formats, but those that are no numbers."""
    patterns = np.random.default_rng(3).permutation(np.arange(2**16, dtype=np.uint16))
    half = np.where(patterns & 0x7C00 == 0x7C00, 0, patterns).astype(np.uint16).reshape(-1, 256)
    assert np.array_equal(ours(kind, half, "F16"), stock(kind, half.view(np.float16)))
    brain = np.where(patterns & 0x7F80 == 0x7F80, 0, patterns).astype(np.uint16).reshape(-1, 256)
    widened = (brain.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(ours(kind, brain, "BF16"), stock(kind, widened))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 15, 16, 17, 31, 33])
def test_any_number_of_blocks(kind, blocks) -> None:
    rng = np.random.default_rng(blocks)
    width = BLOCKS[kind][0]
    assert_same(kind, rng.standard_normal((1, blocks * width)).astype(np.float32))
    assert_same(kind, rng.standard_normal((blocks, width)).astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_a_tensor(kind) -> None:
    rows = np.random.default_rng(4).standard_normal((203, 1024)).astype(np.float32)
    expected, found = stock(kind, rows), np.zeros_like(stock(kind, rows))
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda i: quantize(kind, rows[i : i + 3], found[i : i + 3]), range(0, 203, 3)))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_beyond_the_target(kind) -> None:
    block, size = BLOCKS[kind]
    rows = np.random.default_rng(5).standard_normal((3, 5 * block)).astype(np.float32)
    memory = np.full((5, 5 * size), 0x5A, np.uint8)
    quantize(kind, rows, memory[1:4])
    assert (memory[[0, 4]] == 0x5A).all()


def test_rows_of_a_mapped_file_and_no_rows(tmp_path) -> None:
    rows = np.random.default_rng(6).standard_normal((4, 256)).astype(np.float16)
    (tmp_path / "weights").write_bytes(b"\1" + rows.tobytes())
    mapped = np.memmap(tmp_path / "weights", np.uint8, "r", offset=1).view(np.uint16).reshape(4, 256)
    assert np.array_equal(ours("Q4_K", mapped, "F16"), stock("Q4_K", rows))
    assert ours("Q4_K", mapped[:0], "F16").shape == (0, 144)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_weights_that_are_no_numbers_are_refused(kind, value) -> None:
    for row, column in ((0, 0), (18, 255)):
        rows = np.ones((19, 256), np.float32)
        rows[row, column] = value
        for source, bits in (("F32", rows), ("F16", rows.astype(np.float16).view(np.uint16)), ("BF16", bfloat16(rows))):
            with pytest.raises(WorkbenchError, match="NaN"):
                ours(kind, bits, source)


@pytest.mark.parametrize(
    ("kind", "rows", "out", "source"),
    [
        ("Q9_K", np.zeros((1, 256), np.float32), np.zeros((1, 144), np.uint8), "F32"),
        ("Q4_K", np.zeros((1, 256), np.float32), np.zeros((1, 144), np.uint8), "F8"),
        ("Q4_K", np.zeros((1, 256), np.float64), np.zeros((1, 144), np.uint8), "F32"),
        ("Q4_K", np.zeros((1, 256), np.float16), np.zeros((1, 144), np.uint8), "F16"),
        ("Q4_K", np.zeros(256, np.float32), np.zeros((1, 144), np.uint8), "F32"),
        ("Q4_K", np.zeros((2, 128), np.float32), np.zeros((1, 144), np.uint8), "F32"),
        ("Q4_K", np.zeros((1, 512), np.float32)[:, ::2], np.zeros((1, 144), np.uint8), "F32"),
        ("Q4_K", np.zeros((1, 256), np.float32), np.zeros((1, 143), np.uint8), "F32"),
        ("Q4_K", np.zeros((1, 256), np.float32), np.zeros((1, 144), np.int8), "F32"),
        ("Q4_K", np.zeros((2, 256), np.float32), np.zeros((2, 288), np.uint8)[:, ::2], "F32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(kind, rows, out, source) -> None:
    with pytest.raises(ValueError, match="Q"):
        quantize(kind, rows, out, source)
