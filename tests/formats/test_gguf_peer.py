"""Whole GGUF files byte by byte against llama.cpp's own llama_model_quantize, run by cyllama in its own environment.

WORKBENCH_CYLLAMA_PYTHON=/path/to/python pytest -m peer tests/formats/test_gguf_peer.py
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llamas
import numpy as np
import pytest
from starcoder import make_starcoder

from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.formats._gguf_header import header_bytes
from workbench.formats._gguf_layout import plan_tensors
from workbench.formats._gguf_metadata import metadata
from workbench.formats._gguf_types import FILE_TYPES, PLAIN
from workbench.formats.base import ConversionContext
from workbench.formats.gguf import FORMAT, GgufOptions

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.peer
TEXTS = tuple(f"How many orders over {n}?\nSELECT count(*) FROM orders WHERE total > {n};" for n in range(12))
QUANTIZED = [kind for kind in FILE_TYPES if kind not in ("f16", "bf16")]
SMALL = {"hidden_size": 256, "intermediate_size": 256}
MODELS: dict[str, tuple[Callable[..., Path], dict[str, Any]]] = {
    "bigcode": (make_starcoder, {"layers": 17}),
    "bigcode-narrow": (make_starcoder, {"layers": 2, "width": 64}),  # no K-quant fits, every fallback does
    "llama": (llamas.make_llama, {"num_hidden_layers": 17, "num_key_value_heads": 4}),
    "llama-gqa2": (llamas.make_llama, {"num_hidden_layers": 9, "attention_bias": True}),
    "llama-gqa8": (llamas.make_llama, {"num_hidden_layers": 33, "num_attention_heads": 8, "num_key_value_heads": 1}),
    "llama-odd": (llamas.make_llama, {"hidden_size": 288, "intermediate_size": 544, "num_attention_heads": 9,
                                      "num_key_value_heads": 3}),
    "llama-70b": (llamas.make_llama, {"num_hidden_layers": 80, **SMALL}),
    "llama3": (llamas.make_llama, {"rope_parameters": llamas.LLAMA3_ROPE, "tie_word_embeddings": True}),
    "mistral": (llamas.make_llama, {"kind": "mistral", "num_hidden_layers": 9, "num_key_value_heads": 1}),
}  # fmt: skip
ORACLE = """
import ctypes, sys
import numpy
from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize

class Entry(ctypes.Structure):  # llama_model_imatrix_data
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]

MARK = 0x12345678
params = LlamaModelQuantizeParams()
params.ftype, params.nthread = int(sys.argv[3]), MARK
if len(sys.argv) > 4:
    means = dict(numpy.load(sys.argv[4]))
    given = [Entry(name.encode(), values.ctypes.data, values.size) for name, values in means.items()]
    entries = (Entry * (len(given) + 1))(*given)
    # cyllama lets nobody set the pointer: find the C struct in the object by its first field and set it there.
    places = range(id(params), id(params) + 256, 4)
    struct = next(place for place in places if ctypes.c_int32.from_address(place).value == MARK)
    ctypes.c_void_p.from_address(struct + 24).value = ctypes.addressof(entries)
params.nthread = 1
model_quantize(sys.argv[1], sys.argv[2], params)
"""


@pytest.fixture(scope="module", params=MODELS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    make, sizes = MODELS[request.param]
    return open_checkpoint(str(make(tmp_path_factory.mktemp("peer") / request.param, **sizes)))


def convert(checkpoint: Checkpoint, out: Path, **options: Any) -> bytes:
    FORMAT.convert(checkpoint, GgufOptions(**options), out, ConversionContext(TEXTS))
    return (out / f"{checkpoint.model_name}.{options['type'].upper()}.gguf").read_bytes()


def peer(*arguments: Any) -> None:
    python = os.environ.get("WORKBENCH_CYLLAMA_PYTHON")
    if not python:
        pytest.skip("set WORKBENCH_CYLLAMA_PYTHON to a Python that has cyllama")
    subprocess.run([python, "-c", ORACLE, *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("kind", [*QUANTIZED, "bf16"])
def test_files_equal_those_of_llama_quantize(checkpoint, kind, tmp_path) -> None:
    convert(checkpoint, tmp_path, type="f16")
    theirs = tmp_path / "theirs.gguf"
    peer(tmp_path / f"{checkpoint.model_name}.F16.gguf", theirs, FILE_TYPES[kind].number)
    assert convert(checkpoint, tmp_path, type=kind) == theirs.read_bytes()


@pytest.mark.parametrize("kind", [kind for kind in QUANTIZED if kind != "q8_0"])
def test_files_with_an_importance_matrix_do_too(checkpoint, kind, tmp_path) -> None:
    """But for four pairs that name the matrix, which llama-quantize's command line adds, not its library."""
    convert(checkpoint, tmp_path, type="f16")
    mine, theirs = convert(checkpoint, tmp_path, type=kind, imatrix=True), tmp_path / "theirs.gguf"
    matrix = {t.name: t.data for t in gguf.GGUFReader(tmp_path / f"{checkpoint.model_name}.imatrix").tensors}
    names = [name.removesuffix(".in_sum2") for name in matrix if name.endswith(".in_sum2")]
    means = {name: matrix[f"{name}.in_sum2"] / matrix[f"{name}.counts"] for name in names}
    np.savez(tmp_path / "means.npz", **means)
    peer(tmp_path / f"{checkpoint.model_name}.F16.gguf", theirs, FILE_TYPES[kind].number, tmp_path / "means.npz")
    plans = plan_tensors(checkpoint, FILE_TYPES[kind], imatrix=True)
    data = sum(-plan.nbytes % 32 + plan.nbytes for plan in plans)
    assert header_bytes(metadata(checkpoint, FILE_TYPES[kind]), plans) + mine[-data:] == theirs.read_bytes()
    if any(plan.type not in (*PLAIN, "Q8_0") for plan in plans if plan.name in means):
        assert mine[-data:] != convert(checkpoint, tmp_path, type=kind)[-data:]
