"""MLX packages against ``mlx_lm.convert``, tensor by tensor, and the configs mlx-lm needs mended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import workbench.kernels
from workbench.checkpoint import open_checkpoint
from workbench.errors import CheckpointError
from workbench.formats.base import ConversionContext
from workbench.formats.mlx import FORMAT, MlxOptions

ARCHITECTURES = ("gpt_bigcode", "llama", "mistral")
PEER = "the peer is mlx_lm.convert: pip install mlx-lm 'mlx[cpu]'"


def convert(source: Path, out: Path, threads: int = 2, **options: Any) -> dict[str, Any]:
    checkpoint, chosen = open_checkpoint(str(source)), MlxOptions(**options)
    out.mkdir()
    details = FORMAT.convert(checkpoint, chosen, out, ConversionContext(threads=threads))
    real = sum(file.stat().st_size for file in FORMAT.weight_files(out))
    assert FORMAT.predicted_bytes(checkpoint, chosen) == real
    return details


def edited(source: Path, out: Path, edit: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Path:
    """A copy of a checkpoint with another config or other tensors."""
    shutil.copytree(source, out)
    config, tensors = json.loads((out / "config.json").read_text()), load_file(source / "model.safetensors")
    edit(config, tensors)
    (out / "config.json").write_text(json.dumps(config))
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


def tensors_of(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of every tensor, as MLX reads them."""
    mx = pytest.importorskip("mlx.core", reason=PEER)
    tensors, metadata = mx.load(str(folder / "model.safetensors"), return_metadata=True)
    assert metadata == {"format": "mlx"}
    return {
        name: (str(tensor.dtype), tuple(tensor.shape), np.array(tensor.view(mx.uint8)).tobytes())
        for name, tensor in tensors.items()
    }


def convert_with_mlx_lm(source: Path, out: Path, **options: Any) -> None:
    pytest.importorskip("mlx.core", reason=PEER)
    peer = pytest.importorskip("mlx_lm", reason=PEER)
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    peer.convert(str(source), str(out), **options)


def settings_of(folder: Path) -> dict[str, Any]:
    """The config, without what only says the type a second time or that a key is not there."""
    config = json.loads((folder / "config.json").read_text())
    return {key: value for key, value in config.items() if key != "torch_dtype" and value is not None}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("bits", "group_size"), [(4, 64), (8, 64), (4, 128), (8, 32), (16, 64)])
def test_tensors_are_those_of_mlx_lm(architecture, bits, group_size, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint(architecture)
    quantized = {} if bits == 16 else {"quantize": True, "q_bits": bits, "q_group_size": group_size}
    convert_with_mlx_lm(source, tmp_path / "peer", **quantized)
    convert(source, tmp_path / "ours", bits=bits, group_size=group_size)
    assert tensors_of(tmp_path / "ours") == tensors_of(tmp_path / "peer")
    ours, peer = settings_of(tmp_path / "ours"), settings_of(tmp_path / "peer")
    assert {key: value for key, value in peer.items() if ours.get(key) != value} == {}
    # Beyond mlx_lm's: what it must find and transformers writes elsewhere or leaves out.
    assert ours.keys() - peer.keys() <= {"rope_theta", "rope_scaling"}


@pytest.mark.parametrize("bits", [4, 8])
def test_bfloat16_stays_what_it_is(bits, tiny_checkpoint, tmp_path):
    def narrow(config, tensors):
        config["dtype"] = "bfloat16"
        for name in tensors:
            tensors[name] = tensors[name].bfloat16()

    source = edited(tiny_checkpoint("llama"), tmp_path / "source", narrow)
    convert_with_mlx_lm(source, tmp_path / "peer", quantize=True, q_bits=bits)
    assert convert(source, tmp_path / "ours", bits=bits)["dtype"] == "bfloat16"
    assert tensors_of(tmp_path / "ours") == tensors_of(tmp_path / "peer")
    config = settings_of(tmp_path / "ours")
    assert config["dtype"] == "bfloat16"
    assert config["quantization"] == {"bits": bits, "group_size": 64, "mode": "affine"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_float32_is_cast_first(dtype, tiny_checkpoint, tmp_path):
    def widen(config, tensors):
        config["torch_dtype"] = dtype  # what mlx_lm.convert casts to
        for name in tensors:
            tensors[name] = tensors[name].float() * 1.0001

    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "source", widen)
    convert_with_mlx_lm(source, tmp_path / "peer", quantize=True, q_bits=4)
    assert convert(source, tmp_path / "ours", dtype=dtype)["dtype"] == dtype
    assert tensors_of(tmp_path / "ours") == tensors_of(tmp_path / "peer")


def test_rows_that_do_not_fall_into_groups_stay_floats(tmp_path):
    from transformers import AutoModelForCausalLM, GPTBigCodeConfig

    from workbench.nano import MODEL_DIR

    source = tmp_path / "source"
    config = GPTBigCodeConfig(vocab_size=301, n_positions=33, n_embd=96, n_layer=1, n_head=3, n_inner=128)
    AutoModelForCausalLM.from_config(config).half().save_pretrained(source)
    shutil.copyfile(MODEL_DIR / "tokenizer.json", source / "tokenizer.json")
    convert_with_mlx_lm(source, tmp_path / "peer", quantize=True, q_bits=4)
    assert convert(source, tmp_path / "ours")["quantized_layers"] == 1
    assert tensors_of(tmp_path / "ours") == tensors_of(tmp_path / "peer")


def test_the_number_of_threads_changes_nothing(tiny_checkpoint, tmp_path):
    for threads in (1, 3):
        convert(tiny_checkpoint("llama"), tmp_path / str(threads), threads)
    assert (tmp_path / "1/model.safetensors").read_bytes() == (tmp_path / "3/model.safetensors").read_bytes()


def test_a_starcoder_brings_its_activation_but_does_not_ask_for_it(tiny_checkpoint, tmp_path):
    def forget_width(config, tensors):
        config["n_inner"] = None
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()  # as old repositories have it

    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "source", forget_width)
    assert convert(source, tmp_path / "out")["model_file"] == "mlx_gpt_bigcode.py"
    shipped = (tmp_path / "out" / "mlx_gpt_bigcode.py").read_bytes()
    assert shipped == (Path(workbench.kernels.__path__[0]) / "mlx_gpt_bigcode.py").read_bytes()
    config = settings_of(tmp_path / "out")
    assert "model_file" not in config  # plain mlx-lm would refuse the package
    assert config["n_inner"] == 1024
    with safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert not [name for name in file.keys() if "lm_head" in name]  # noqa: SIM118 - not a dict
    assert "model_file" not in convert(tiny_checkpoint("llama"), tmp_path / "llama")


def test_exact_gelu_needs_no_file(tiny_checkpoint, tmp_path):
    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "s", lambda c, t: c.update(activation_function="gelu"))
    assert "model_file" not in convert(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "theta", "scaling"),
    [
        ({"rope_theta": 1e6}, 1e6, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, 5e5, None),
        ({"rope_theta": 2e4, "rope_scaling": {"type": "linear", "factor": 4.0}}, 2e4, ("linear", 4.0)),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 3e4, "factor": 2.0}}, 3e4, ("linear", 2.0)),
        ({}, 10000.0, None),
    ],
    ids=str,
)
def test_rotary_settings_stand_where_mlx_lm_reads_them(given, theta, scaling, tiny_checkpoint, tmp_path):
    def turn(config, tensors):
        config.pop("rope_parameters", None)
        config.pop("tie_word_embeddings", None)
        config.update(given)

    convert(edited(tiny_checkpoint("llama"), tmp_path / "source", turn), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["rope_theta"] == theta
    read = config["rope_scaling"] and (config["rope_scaling"]["rope_type"], config["rope_scaling"]["factor"])
    assert read == scaling
    assert config["tie_word_embeddings"] is False  # mlx-lm would assume the opposite


@pytest.mark.parametrize(
    ("architecture", "settings", "message"),
    [
        ("gpt_bigcode", {"multi_query": False}, "several key and value heads in another order"),
        ("gpt_bigcode", {"scale_attn_weights": False}, "always scales"),
        ("gpt_bigcode", {"activation_function": "relu"}, "GELU only"),
        ("llama", {"hidden_act": "gelu"}, "SiLU only"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "by 'longrope'"),
    ],
)
def test_what_mlx_lm_computes_otherwise_is_refused(architecture, settings, message, tiny_checkpoint, tmp_path):
    source = edited(tiny_checkpoint(architecture), tmp_path / "source", lambda c, t: c.update(settings))
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / "out")


def test_incomplete_and_quantized_checkpoints_are_refused(tiny_checkpoint, tmp_path):
    def behead(config, tensors):
        del tensors["lm_head.weight"]

    def pack(config, tensors):
        tensors["model.layers.0.mlp.up_proj.weight"] = torch.ones(512, 256, dtype=torch.int8)

    with pytest.raises(CheckpointError, match=r"lacks lm_head\.weight"):
        convert(edited(tiny_checkpoint("llama"), tmp_path / "headless", behead), tmp_path / "first")
    with pytest.raises(CheckpointError, match="quantized already"):
        convert(edited(tiny_checkpoint("llama"), tmp_path / "packed", pack), tmp_path / "second")
