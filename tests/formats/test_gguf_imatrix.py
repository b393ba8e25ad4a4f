"""Importance matrices: the sums against plain transformers, the file against gguf's reader, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import WorkbenchError
from workbench.formats import _gguf_imatrix
from workbench.formats._gguf_imatrix import measure
from workbench.formats._gguf_names import gguf_names
from workbench.formats.base import ConversionContext
from workbench.formats.gguf import FORMAT, GgufOptions
from workbench.journal import Journal

gguf = pytest.importorskip("gguf")
TEXTS = tuple(f"How many orders over {n}?\nSELECT count(*) FROM orders WHERE total > {n};" for n in range(12))
SEQUENCES = [[5, 80, 300, 7, 91], [17, 4, 4], [200] * 40]


@pytest.fixture(params=["gpt_bigcode", "llama"])
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoint: Callable[[str], Path]) -> Checkpoint:
    return open_checkpoint(str(tiny_checkpoint(request.param)))


def convert(checkpoint: Checkpoint, out: Path, journal: Journal | None = None, **options: object) -> Path:
    out.mkdir(exist_ok=True)
    context = ConversionContext(TEXTS, journal=journal or Journal())
    FORMAT.convert(checkpoint, GgufOptions.model_validate(options), out, context)
    return next(out.glob("*.gguf"))


def test_sums_are_those_of_the_whole_model(checkpoint) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    names, expected = gguf_names(checkpoint), dict[str, torch.Tensor]()

    def note(name: str) -> Callable[..., None]:
        def hook(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
            expected[name] = expected.get(name, 0) + arguments[0][0].double().square().sum(0)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            module.register_forward_pre_hook(note(names[f"{name}.weight"]))
    with torch.no_grad():
        for ids in SEQUENCES:
            model(input_ids=torch.tensor([ids]))
    sums = measure(checkpoint, SEQUENCES, ConversionContext())
    assert sums.keys() == expected.keys()
    for name, values in sums.items():
        assert np.allclose(values, expected[name].numpy(), rtol=1e-4), name


def test_the_sums_do_not_depend_on_the_threads(checkpoint) -> None:
    one, three = (measure(checkpoint, SEQUENCES, ConversionContext(threads=threads)) for threads in (1, 3))
    assert all(np.array_equal(one[name], three[name]) for name in one)


def test_the_file_beside_the_weights_is_llama_cpps(checkpoint, tmp_path) -> None:
    file = convert(checkpoint, tmp_path / "out", type="q2_k", imatrix=True)
    assert file.stat().st_size == FORMAT.predicted_bytes(checkpoint, GgufOptions(type="q2_k", imatrix=True))
    matrix = gguf.GGUFReader(tmp_path / "out" / f"{checkpoint.model_name}.imatrix")
    fields = {key: field.contents() for key, field in matrix.fields.items()}
    assert fields["general.type"] == "imatrix"
    assert fields["imatrix.chunk_count"] == len(TEXTS)
    tensors = {tensor.name: tensor.data for tensor in matrix.tensors}
    assert float(tensors["blk.0.ffn_down.weight.counts"][0]) > len(TEXTS)
    assert tensors["blk.0.ffn_down.weight.in_sum2"].shape == (512,)
    noted = {key: field.contents() for key, field in gguf.GGUFReader(file).fields.items()}
    assert noted["quantize.imatrix.entries_count"] == len(tensors) / 2
    assert noted["quantize.imatrix.chunks_count"] == len(TEXTS)


def test_important_columns_are_rounded_with_more_care(checkpoint, tmp_path) -> None:
    """The weighted error falls: what the quantizer is asked to make small."""
    files = [convert(checkpoint, tmp_path / str(flag), type="q2_k", imatrix=flag) for flag in (True, False)]
    matrix = gguf.GGUFReader(tmp_path / "True" / f"{checkpoint.model_name}.imatrix")
    sums = {tensor.name.removesuffix(".in_sum2"): tensor.data for tensor in matrix.tensors}
    source = gguf.GGUFReader(convert(checkpoint, tmp_path / "source", type="f16"))
    weights = {tensor.name: tensor.data.astype(np.float32) for tensor in source.tensors}
    errors = []
    for file in files:
        found = {
            t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(file).tensors if t.name in sums
        }
        errors.append(sum(float(((found[name] - weights[name]) ** 2 @ sums[name]).sum()) for name in found))
    assert errors[0] < 0.95 * errors[1]


def test_a_killed_run_does_not_measure_again(checkpoint, tmp_path, monkeypatch) -> None:
    whole = convert(checkpoint, tmp_path / "whole", type="q2_k", imatrix=True).read_bytes()
    convert(checkpoint, tmp_path / "cut", Journal(tmp_path / "journal", "key"), type="q2_k", imatrix=True)
    lines = (tmp_path / "journal").read_text().splitlines(keepends=True)
    (tmp_path / "journal").write_text("".join(lines[:4]))  # the key, the matrix, two tensors
    monkeypatch.setattr(_gguf_imatrix, "measure", None)
    again = convert(checkpoint, tmp_path / "cut", Journal(tmp_path / "journal", "key"), type="q2_k", imatrix=True)
    assert again.read_bytes() == whole


def test_it_is_asked_for_only_where_it_matters(checkpoint, tmp_path) -> None:
    assert FORMAT.wants_calibration(GgufOptions(imatrix=True))
    assert not FORMAT.wants_calibration(GgufOptions())
    with pytest.raises(ValidationError, match="changes nothing"):
        GgufOptions(type="q8_0", imatrix=True)
    with pytest.raises(WorkbenchError, match="calibration texts"):
        FORMAT.convert(checkpoint, GgufOptions(imatrix=True), tmp_path, ConversionContext())
