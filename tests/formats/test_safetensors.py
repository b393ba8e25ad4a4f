"""safetensors laid out before the weights: readable by the reference library, exact in size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError, WorkbenchError
from workbench.formats._floats import cast, raw
from workbench.formats._output import Output
from workbench.formats._safetensors import INDEX_NAME, Group, Spec, safetensors_files, total_bytes, write_index
from workbench.formats.base import ConversionContext
from workbench.tensors import read_header

TENSORS = {
    "a": torch.arange(7, dtype=torch.int32),
    "c": torch.randn(4, 2)[::2],
    "b": torch.randn(3, 5).half(),
    "empty": torch.zeros(0, 4).half(),
}
KINDS = {torch.int32: "I32", torch.float32: "F32", torch.float16: "F16"}
GROUPS = [
    Group((Spec(name, KINDS[tensor.dtype], tuple(tensor.shape)),), lambda tensor=tensor: [lambda: raw(tensor)])
    for name, tensor in TENSORS.items()
]


def write(folder: Path, **options) -> list[Path]:
    files = safetensors_files(GROUPS, **options)
    with Output(files, folder, Checkpoint("x", folder, None, {}, {}), ConversionContext()) as output:
        output.write_all()
    write_index(folder, GROUPS, files)
    return sorted(folder.glob("*.safetensors"))


def test_the_reference_library_reads_it(tmp_path):
    (file,) = write(tmp_path, metadata={"format": "pt", "note": "Ünïcode"})
    read = load_file(file)
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())
    with safe_open(file, "pt") as handle:
        assert handle.metadata() == {"format": "pt", "note": "Ünïcode"}
    assert {info.name for info in read_header(file)} == set(TENSORS)


def test_the_size_is_known_before(tmp_path):
    assert sum(file.stat().st_size for file in write(tmp_path)) == total_bytes(safetensors_files(GROUPS))


def test_shards_carry_an_index(tmp_path):
    files = write(tmp_path, limit=40)
    assert [file.name for file in files] == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = json.loads((tmp_path / INDEX_NAME).read_text())
    assert index["metadata"]["total_size"] == sum(group.nbytes for group in GROUPS)
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], TENSORS[name])


def test_tensors_that_would_not_be_aligned_are_refused():
    odd = [Group((Spec("odd", "I8", (3,)),)), Group((Spec("next", "F32", (1,)),))]
    with pytest.raises(WorkbenchError, match="next follows tensors of odd sizes"):
        safetensors_files(odd)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_damaged_tensor_is_refused(bad, dtype):
    with pytest.raises(CheckpointError, match="tensor w holds NaN or infinity"):
        cast("w", torch.tensor([1.0, bad]), dtype)


def test_a_value_beyond_float16_is_refused():
    with pytest.raises(WorkbenchError, match=r"tensor w holds 1e\+05, beyond float16's 65504"):
        cast("w", torch.tensor([1e5]), torch.float16)
    assert cast("w", torch.tensor([1e5]), torch.bfloat16).item() == pytest.approx(1e5, rel=0.01)
