"""The int8 kernel: by hand, and against torchao byte for byte, in rows of every sort and in a whole artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open

import workbench.tensors
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.formats import int8
from workbench.formats.base import ConversionContext
from workbench.kernels.int8_rows import quantize
from workbench.nano import MODEL_DIR
from workbench.quiet import quiet_libraries

NEGATIVE = np.uint16(0x8000)
FINITE = 0x7C00  # finite magnitudes, as bits, end before this
PARTS = ("qdata", "scale", "zero_point")

Half = NDArray[np.float16]


def by_torchao(weight: torch.Tensor, name: str = "layer.weight") -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """What torchao makes of a weight and notes in the header."""
    with quiet_libraries():
        from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        layer.weight = torch.nn.Parameter(weight, requires_grad=False)
        quantize_(layer, Int8WeightOnlyConfig(version=2))
        flat, notes = flatten_tensor_state_dict({name: layer.weight.detach()})
    return dict(flat), dict(notes)


def described(arrays: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(str(array.dtype), tuple(array.shape), array.tobytes()) for array in arrays]


def same_as_torchao(weight: Half) -> bool:
    parts, _ = by_torchao(torch.from_numpy(np.ascontiguousarray(weight)))
    return described(quantize(weight)) == described(parts[f"layer._weight_{part}"].numpy() for part in PARTS)


def halves(bits: Any) -> Half:
    array: Half = np.asarray(bits).astype(np.uint16).view(np.float16)
    return array


def edge_cases(width: int) -> Iterator[tuple[str, Half]]:
    """Rows in which a quantizer may go wrong."""
    draw = np.random.default_rng(width)
    normal, places = draw.normal(0, 1, (8, width)), np.arange(width)
    steps = (places % 255 - 127.5) * np.ones((8, 1))
    yield from (
        (name, np.asarray(case).astype(np.float16))
        for name, case in {
            "weights": normal * 0.02,
            "zeros": np.zeros((8, width)),
            "negative zeros": -np.zeros((8, width)),
            "constant": normal[:, :1] * np.ones(width),
            "all negative": -np.abs(normal) - 0.5,
            "outlier up": np.where(places == width // 2, 60.0, normal * 0.01),
            "outlier down": np.where(places == width // 2, -60.0, normal * 0.01),
            "halves between codes": steps * 2.0 ** np.arange(-18, 6, 3)[:, None],
            "huge": np.where(places % 3, 65504, -65504) * np.sign(normal[:, :1]),
            "wide": np.clip(normal * 30000, -65504, 65504),
            "scale at its bound": normal * 2e-5,
            "tiny": normal * 1e-6,
            "subnormal": draw.integers(-1023, 1024, (8, width)) * 2.0**-24,
            "the smallest number": draw.integers(-1, 2, (8, width)) * 2.0**-24,
        }.items()
    )


@pytest.mark.parametrize("width", [2, 3, 7, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 1023, 6144])
def test_bytes_are_those_of_torchao(width):
    assert [name for name, weight in edge_cases(width) if not same_as_torchao(weight)] == []


def test_every_largest_magnitude_gives_torchaos_scale_and_end_codes():
    peaks = np.arange(FINITE, dtype=np.uint16)
    below = np.maximum(peaks, 1) - 1
    half = (halves(peaks) / np.float16(2)).view(np.uint16)
    assert same_as_torchao(halves(np.stack([peaks, peaks | NEGATIVE, below, below | NEGATIVE, half], axis=1)))


@pytest.mark.parametrize("start", [0x0000, 0x0380, 0x0800, 0x2E66, 0x3C00, 0x7BE0])
def test_every_weight_up_to_some_magnitudes_gets_torchaos_code(start):
    peaks = np.arange(start, min(start + 32, FINITE))[:, None]
    magnitudes = np.minimum(np.arange(peaks.max() + 1), peaks).astype(np.uint16)
    assert same_as_torchao(halves(np.concatenate([magnitudes, magnitudes | NEGATIVE], axis=1)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 700), st.integers(1, FINITE))
@settings(max_examples=60, deadline=None)
def test_any_finite_bits_give_torchaos_bytes(seed, rows, width, end):
    draw = np.random.default_rng(seed)
    magnitudes = draw.integers(0, end, (rows, width)).astype(np.uint16)
    assert same_as_torchao(halves(magnitudes | draw.choice([np.uint16(0), NEGATIVE], (rows, width))))


def test_a_row_by_hand():
    codes, scales, zero_points = quantize(np.array([[127.5, -127.5, 0.5, 1.5, -0.75, 0]], np.float16))
    assert codes.tolist() == [[127, -128, 0, 2, -1, 0]]
    assert scales.tolist() == [[1.0]]
    assert zero_points.tolist() == [[0]]


def test_rows_of_one_weight_which_torchao_refuses():
    codes, scales, _ = quantize(np.array([[0.25], [-0.25], [0]], np.float16))
    assert codes.tolist() == [[127], [-128], [0]]
    assert scales[:, 0].tolist() == [np.float16(0.25 / 127.5), np.float16(0.25 / 127.5), 2.0**-23]


def test_rows_are_independent_and_need_not_lie_in_a_row():
    weight = np.random.default_rng(1).normal(0, 0.02, (64, 200)).astype(np.float16)
    whole, turned = quantize(weight), quantize(np.asfortranarray(weight))
    pieces = zip(*(quantize(weight[start : start + 7]) for start in range(0, 64, 7)), strict=True)
    assert described(whole) == described(turned) == described(np.concatenate(part) for part in pieces)


def expected_of_torchao(checkpoint: Checkpoint) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The quantized tensors of a checkpoint, each made of the whole weight at once, and their notes."""
    tensors: dict[str, torch.Tensor] = {}
    notes: dict[str, str] = {}
    for name, info in checkpoint.tensors.items():
        if len(info.shape) == 2 and ".h." in name:
            parts, note = by_torchao(torch.cat(list(checkpoint.chunks(name))).half(), name)
            tensors |= parts
            notes[name] = note[name]
    return tensors, notes


def test_an_artifact_in_many_chunks_holds_torchaos_bytes_and_words(tmp_path, monkeypatch):
    monkeypatch.setattr(workbench.tensors, "CHUNK_BYTES", 1 << 16)
    checkpoint = open_checkpoint(str(MODEL_DIR))
    expected, notes = expected_of_torchao(checkpoint)
    assert max(len(info.chunks) for info in checkpoint.tensors.values()) > 3
    int8.FORMAT.convert(checkpoint, int8.Int8Options(), tmp_path, ConversionContext())
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        header = file.metadata()
        assert {name: header[name] for name in notes} == notes
        assert set(json.loads(header["tensor_names"])) >= set(notes)
        assert {name for name in file.keys() if "_weight_" in name} == set(expected)  # noqa: SIM118
        assert [name for name, tensor in expected.items() if not torch.equal(file.get_tensor(name), tensor)] == []
