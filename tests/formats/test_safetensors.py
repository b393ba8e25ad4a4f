"""The streaming writer: readable by the reference library, exact in size, honest about what is missing."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from workbench.errors import CheckpointError, WorkbenchError
from workbench.formats._safetensors import INDEX_NAME, Spec, Writer, as_float16, total_bytes
from workbench.tensors import read_header

SPECS = [Spec("b", "F16", (3, 5)), Spec("a", "I32", (7,)), Spec("empty", "F16", (0, 4)), Spec("c", "F32", (2, 2))]
TENSORS = {
    "a": torch.arange(7, dtype=torch.int32),
    "b": torch.randn(3, 5).half(),
    "c": torch.randn(4, 2)[::2],
    "empty": torch.zeros(0, 4).half(),
}


def write(folder, **options):
    with Writer(SPECS, folder, **options) as writer:
        for name in ("c", "empty", "a", "b"):  # any order
            writer.write(name, TENSORS[name])
    return sorted(folder.glob("*.safetensors"))


def test_the_reference_library_reads_it(tmp_path):
    (file,) = write(tmp_path, metadata={"format": "pt", "note": "Ünïcode"})
    read = load_file(file)
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())
    with safe_open(file, "pt") as handle:
        assert handle.metadata() == {"format": "pt", "note": "Ünïcode"}
    assert {info.name for info in read_header(file)} == set(TENSORS)


def test_the_size_is_known_before(tmp_path):
    assert sum(file.stat().st_size for file in write(tmp_path)) == total_bytes(SPECS)


def test_shards_carry_an_index(tmp_path):
    files = write(tmp_path, limit=40)
    assert [file.name for file in files] == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = json.loads((tmp_path / INDEX_NAME).read_text())
    assert index["metadata"]["total_size"] == sum(spec.nbytes for spec in SPECS)
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], TENSORS[name])
    assert sum(file.stat().st_size for file in files) == total_bytes(SPECS, limit=40)


def test_a_broken_promise_is_noticed(tmp_path):
    with pytest.raises(ValueError, match="promised"), Writer(SPECS, tmp_path) as writer:
        writer.write("a", torch.zeros(8, dtype=torch.int32))
    with pytest.raises(ValueError, match="never written: b, c"), Writer(SPECS, tmp_path) as writer:
        writer.write("a", TENSORS["a"])
        writer.write("empty", TENSORS["empty"])


def test_float16_rounds_to_nearest_and_refuses_what_it_cannot_hold():
    assert as_float16("w", torch.tensor([1 + 2**-11 + 2**-20])).item() == 1 + 2**-10
    assert as_float16("w", torch.tensor([4096.0], dtype=torch.bfloat16)).dtype == torch.float16
    with pytest.raises(WorkbenchError, match=r"w holds 1e\+05, beyond float16"):
        as_float16("w", torch.tensor([1.0, -1e5]))
    with pytest.raises(CheckpointError, match="damaged"):
        as_float16("w", torch.tensor([float("nan")]))
