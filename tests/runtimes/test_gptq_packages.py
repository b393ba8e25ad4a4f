"""GPTQ packages of other makers: those in the layout are read, the others refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.errors import ArtifactError
from workbench.runtimes._gptq import dequantized_state, load_dequantized

Package = Callable[..., tuple[Path, dict[str, torch.Tensor]]]


def packed(codes: np.ndarray, bits: int) -> torch.Tensor:
    """Codes as one little-endian stream of bits along the first axis, bit by bit."""
    stream = (codes[:, None, :] >> np.arange(bits)[None, :, None] & 1).reshape(-1, 32, codes.shape[1])
    words = (stream.astype(np.uint64) << np.arange(32, dtype=np.uint64)[None, :, None]).sum(axis=1)
    return torch.from_numpy(words.astype(np.uint32).view(np.int32))


@pytest.fixture
def package(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Package:
    """Writes a package of a tiny llama as AutoGPTQ or gptqmodel would; returns it and the weights it stands for."""

    def make(bits: int = 4, group: int = 64, version: int = 1, ordered: bool = False, **config: Any):
        random, down_bits = np.random.default_rng(bits), config.pop("down_bits", bits)
        lowest = config.pop("lowest_zero", 1)
        source = tiny_checkpoint("llama")
        tensors, expected = {}, {}
        for name, tensor in load_file(source / "model.safetensors").items():
            if "_proj" not in name:
                tensors[name] = tensor
                continue
            outputs, inputs = tensor.shape
            width = down_bits if "down" in name else bits
            codes, zeros = (
                random.integers(0, 2**width, (inputs, outputs)),
                random.integers(lowest, 2**width, (inputs // group, outputs)),
            )
            scales = random.uniform(0.001, 0.01, zeros.shape).astype(np.float16)
            g_idx = np.arange(inputs) // group
            g_idx = random.permutation(g_idx) if ordered else g_idx
            layer = name.removesuffix(".weight")
            tensors[f"{layer}.qweight"] = packed(codes, width)
            tensors[f"{layer}.qzeros"] = packed((zeros - (version == 1)).T, width).T.contiguous()
            tensors[f"{layer}.scales"] = torch.from_numpy(scales)
            tensors[f"{layer}.g_idx"] = torch.from_numpy(g_idx.astype(np.int32))
            expected[name] = torch.from_numpy((codes - zeros[g_idx]) * scales[g_idx].astype(float)).T.float()
        folder = tmp_path / "package"
        folder.mkdir()
        save_file(tensors, folder / "gptq_model-4bit-64g.safetensors")
        layout = {1: "gptq", 2: "gptq_v2"}[version]
        facts = {"bits": bits, "group_size": group, "desc_act": ordered, "sym": False, "quant_method": "gptq"}
        document = json.loads((source / "config.json").read_text())
        document["quantization_config"] = {**facts, "checkpoint_format": layout, **config}
        (folder / "config.json").write_text(json.dumps(document))
        return folder, expected

    return make


def check(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    state = dequantized_state(folder, torch.float32)
    assert not any(name.endswith(("qweight", "qzeros", "scales", "g_idx")) for name in state)
    for name, weight in expected.items():
        torch.testing.assert_close(state[name], weight, rtol=0, atol=0)
    assert load_dequantized(folder, torch.float32)(input_ids=torch.tensor([[1, 2, 3]])).logits.isfinite().all()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("bits", "ordered"), [(4, False), (4, True), (2, True), (3, False), (8, True)])
def test_both_versions_are_read(package: Package, version: int, bits: int, ordered: bool) -> None:
    check(*package(bits=bits, version=version, ordered=ordered))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_zeros_of_0_as_gptqmodel_writes_them_in_version_1(package: Package, bits: int) -> None:
    """It subtracts one from every code of a word at once, so that a 0 borrows from its neighbour."""
    folder, expected = package(bits=bits, version=2, checkpoint_format="gptq", lowest_zero=0)
    ones = sum(1 << shift for shift in range(0, 32, bits))

    def subtract(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        zeros = {name: one.numpy().view(np.uint32) for name, one in tensors.items() if name.endswith("qzeros")}
        stored = {name: torch.from_numpy((one - np.uint32(ones)).view(np.int32)) for name, one in zeros.items()}
        return {**tensors, **stored}

    change(folder, subtract)
    check(folder, expected)


def test_a_layer_of_other_bits_is_read(package: Package) -> None:
    """As gptqmodel's ``dynamic`` makes them."""
    folder, expected = package(down_bits=8, dynamic={"+:.*down_proj": {"bits": 8}})
    check(folder, expected)


def test_old_packages_are_read(package: Package) -> None:
    """Without ``g_idx``, and with the facts in a file of their own."""
    folder, expected = package()
    document = json.loads((folder / "config.json").read_text())
    facts = document.pop("quantization_config")
    (folder / "config.json").write_text(json.dumps(document))
    (folder / "quantize_config.json").write_text(json.dumps({key: facts[key] for key in ("bits", "group_size")}))
    change(folder, lambda tensors: {name: one for name, one in tensors.items() if not name.endswith("g_idx")})
    check(folder, expected)


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    (file,) = folder.glob("*.safetensors")
    save_file(edit(load_file(file)), file)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"checkpoint_format": "marlin"}, "packed as gptq, marlin, in int32"),
        ({"is_marlin_format": True}, "packed as gptq, marlin"),
        ({"checkpoint_format": None, "format": "gptq_p"}, "packed as gptq, gptq_p"),
        ({"quant_method": "awq"}, "packed as awq"),
        ({"pack_dtype": "int16"}, "in int16"),
    ],
    ids=str,
)
def test_other_layouts_are_refused(package: Package, config: dict[str, Any], said: str) -> None:
    folder, _ = package(**config)
    with pytest.raises(ArtifactError, match=said) as refusal:
        load_dequantized(folder, torch.float32)
    assert "reads gptq and gptq_v2" in str(refusal.value)


def test_a_package_that_says_nothing_is_refused(package: Package) -> None:
    folder, _ = package()
    document = json.loads((folder / "config.json").read_text())
    del document["quantization_config"]
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="says nothing of its quantization"):
        load_dequantized(folder, torch.float32)


@pytest.mark.parametrize(
    ("part", "edit", "said"),
    [
        ("scales", None, r"q_proj lacks scales"),
        ("scales", lambda tensor: tensor[:-1], "which do not belong together"),
        ("qweight", lambda tensor: tensor[:-1], "which do not belong together"),
        ("g_idx", lambda tensor: tensor + 9, "which do not belong together"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(package: Package, part: str, edit: Any, said: str) -> None:
    folder, _ = package()
    name = f"model.layers.0.self_attn.q_proj.{part}"

    def damage(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensor = tensors.pop(name)
        return tensors if edit is None else {**tensors, name: edit(tensor).contiguous()}

    change(folder, damage)
    with pytest.raises(ArtifactError, match=said):
        load_dequantized(folder, torch.float32)


def test_no_safetensors_is_refused(package: Package) -> None:
    folder, _ = package()
    for file in folder.glob("*.safetensors"):
        shutil.move(file, file.with_suffix(".bin"))
    with pytest.raises(ArtifactError, match="no packed layer in safetensors"):
        load_dequantized(folder, torch.float32)
