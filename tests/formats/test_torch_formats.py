"""fp16, int8 and GPTQ checkpoints, loaded by transformers and compared with what they must hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.checkpoint import open_checkpoint
from workbench.errors import CheckpointError, WorkbenchError
from workbench.formats import fp16, gptq, int8
from workbench.formats.base import ConversionContext
from workbench.quiet import quiet_libraries

ARCHITECTURES = ("gpt_bigcode", "llama", "mistral")
TEXTS = tuple(f"List city {n} with {n * 37 % 101} people.\nSELECT name FROM city LIMIT {n};" for n in range(16))
IDS = torch.randint(1, 250, (2, 24), generator=torch.Generator().manual_seed(1))


def convert(member: Any, folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    return member.convert(
        open_checkpoint(str(folder)), member.options_model.model_validate(options), out, ConversionContext(TEXTS)
    )


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    with quiet_libraries():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def edited(folder: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A copy of a checkpoint with its tensors changed."""
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fp16_passes_float16_through(architecture, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint(architecture)
    convert(fp16.FORMAT, source, tmp_path)
    assert torch.equal(logits(load(tmp_path)), logits(load(source)))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == "float16"
    assert (tmp_path / "tokenizer.json").is_file()


def test_fp16_casts_other_sources_and_drops_buffers(tiny_checkpoint, tmp_path):
    def widen(tensors):
        for name in tensors:
            tensors[name] = tensors[name].bfloat16() if "mlp" in name else tensors[name].float()
        tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)

    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "source", widen)
    details = convert(fp16.FORMAT, source, tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert details == {"source_dtypes": ["BF16", "BOOL", "F32"]}
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
    assert "transformer.h.0.attn.bias" not in written
    for name, tensor in load_file(source / "model.safetensors").items():
        if name in written:
            assert torch.equal(written[name], tensor.half())


def test_fp16_predicts_to_the_byte(tiny_checkpoint, tmp_path):
    checkpoint = open_checkpoint(str(tiny_checkpoint("llama")))
    convert(fp16.FORMAT, checkpoint.path, tmp_path)
    real = (tmp_path / "model.safetensors").stat().st_size
    assert fp16.FORMAT.predicted_bytes(checkpoint, fp16.Fp16Options()) == real


def test_what_is_quantized_already_is_refused(tiny_checkpoint, tmp_path):
    def pack(tensors):
        tensors["transformer.h.0.mlp.c_fc.weight"] = torch.ones(512, 256, dtype=torch.int8)

    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "source", pack)
    with pytest.raises(CheckpointError, match="quantized already"):
        convert(fp16.FORMAT, source, tmp_path / "out")


def by_row(weight: torch.Tensor) -> torch.Tensor:
    """int8 to nearest; torchao spreads 255 steps over twice a row's largest magnitude, its scale a float16."""
    scale = (weight.half().abs().amax(1, keepdim=True) / 127.5).float()
    return (weight / scale).round().clamp(-128, 127) * scale


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_int8_is_rounding_by_row(architecture, tiny_checkpoint, tmp_path):
    convert(int8.FORMAT, tiny_checkpoint(architecture), tmp_path)
    read, expected = load(tmp_path), load(tiny_checkpoint(architecture))
    plain = logits(expected)
    with torch.no_grad():
        for name, module in expected.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                assert type(read.get_submodule(name).weight).__name__ == "Int8Tensor", name
                module.weight.copy_(by_row(module.weight))
    assert distance(logits(read), logits(expected)) < 2e-3
    assert distance(logits(read), plain) < 0.05  # random weights this large spread an error more than trained ones do


@pytest.mark.parametrize(
    "options",
    [{}, {"static_groups": False, "group_size": 64}, {"bits": 3, "symmetric": False, "group_size": -1}, {"bits": 8}],
    ids=str,
)
def test_gptq_predicts_to_the_byte_and_is_read_back(options, tiny_checkpoint, tmp_path):
    from workbench.runtimes._gptq import load_dequantized

    checkpoint = open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))
    details = convert(gptq.FORMAT, checkpoint.path, tmp_path, **options)
    chosen = gptq.GptqOptions.model_validate(options)
    assert gptq.FORMAT.predicted_bytes(checkpoint, chosen) == (tmp_path / "model.safetensors").stat().st_size
    with quiet_libraries():
        read = logits(load_dequantized(tmp_path, torch.float32))
    error = distance(read, logits(load(checkpoint.path)))
    assert error < {3: 0.8, 4: 0.5, 8: 0.05}[chosen.bits]
    assert len(details["relative_errors"]) == 8
    config = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert config == json.loads((tmp_path / "quantize_config.json").read_text())
    assert {key: config[key] for key in ("quant_method", "bits", "sym")} == {
        "quant_method": "gptq", "bits": chosen.bits, "sym": chosen.symmetric,
    }  # fmt: skip


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_gptq_knows_the_layers_of(architecture, tiny_checkpoint, tmp_path):
    convert(gptq.FORMAT, tiny_checkpoint(architecture), tmp_path, calibration_samples=4)
    names = set(load_file(tmp_path / "model.safetensors"))
    for layer in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"):
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            assert f"model.layers.1.{layer}.{part}" in names
        assert f"model.layers.1.{layer}.weight" not in names


def test_gptq_beats_rounding_on_the_texts_it_was_fitted_to(tiny_checkpoint, tmp_path):
    """The whole point, measured at the end of the model rather than in one layer."""
    from transformers import AutoTokenizer

    from workbench.kernels.gptq_grid import choose_grid
    from workbench.kernels.gptq_settings import GptqSettings
    from workbench.runtimes._gptq import load_dequantized

    source = tiny_checkpoint("gpt_bigcode")
    convert(gptq.FORMAT, source, tmp_path)
    ids = torch.tensor([AutoTokenizer.from_pretrained(source).encode(TEXTS[3])])
    nearest = load(source)
    with torch.inference_mode():
        plain = nearest(input_ids=ids).logits
        for module in nearest.transformer.h.modules():
            if isinstance(module, torch.nn.Linear):
                for start in range(0, module.in_features, 128):
                    part = module.weight[:, start : start + 128]
                    scale, zero, top = choose_grid(part.numpy(), GptqSettings()).floats()
                    codes = np.clip(np.rint(part.numpy() / scale[:, None]) + zero[:, None], 0, top)
                    part.copy_(torch.from_numpy((codes - zero[:, None]) * scale[:, None]))
        with quiet_libraries():
            fitted = load_dequantized(tmp_path, torch.float32)(input_ids=ids).logits
        assert distance(fitted, plain) < 0.8 * distance(nearest(input_ids=ids).logits, plain)


def test_the_widest_group_that_fits_every_layer(tiny_checkpoint):
    checkpoint = open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))
    assert gptq.group_size(checkpoint, gptq.GptqOptions()) == 128
    name = "transformer.h.0.mlp.c_proj.weight"
    narrow = dict(checkpoint.tensors)
    narrow[name] = type(narrow[name])(name, "F16", (256, 320), narrow[name].file)
    checkpoint = type(checkpoint)(checkpoint.id, checkpoint.path, None, checkpoint.config, narrow)
    assert gptq.group_size(checkpoint, gptq.GptqOptions()) == 64
    assert gptq.group_size(checkpoint, gptq.GptqOptions(group_size=-1)) == -1
    narrow[name] = type(narrow[name])(name, "F16", (256, 300), narrow[name].file)
    with pytest.raises(CheckpointError, match="256 x 300 cannot be packed"):
        gptq.group_size(checkpoint, gptq.GptqOptions())


def test_gptq_wants_texts(tiny_checkpoint, tmp_path):
    checkpoint = open_checkpoint(str(tiny_checkpoint("gpt_bigcode")))
    with pytest.raises(WorkbenchError, match="needs calibration texts"):
        gptq.FORMAT.convert(checkpoint, gptq.GptqOptions(), tmp_path, ConversionContext())


def test_a_model_that_overflows_is_refused(tiny_checkpoint, tmp_path):
    def overflow(tensors):
        tensors["transformer.wte.weight"][:] = float("nan")

    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "source", overflow)
    with pytest.raises(CheckpointError, match=r"wte\.weight holds NaN"):
        convert(gptq.FORMAT, source, tmp_path / "out")
