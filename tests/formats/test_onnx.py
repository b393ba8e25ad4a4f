"""ONNX graphs run by onnxruntime against transformers in float32, and what the files must hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench import tensors
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import CheckpointError
from workbench.formats._onnx_blocks import quantize
from workbench.formats._onnx_graph import Graph, Place
from workbench.formats._onnx_weights import Weights
from workbench.formats.base import ConversionContext
from workbench.formats.onnx import BITS, FORMAT, OnnxOptions
from workbench.quiet import quiet_libraries
from workbench.tensors import TensorInfo

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
IDS = np.random.default_rng(0).integers(1, 250, (2, 40))
GRAPHS = ("model.onnx", "model_fp16.onnx")
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
SIZES = {"vocab_size": 512, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "initializer_range": 0.08}
LLAMA_SIZES = {
    **SIZES, "max_position_embeddings": 256, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 192,
}  # fmt: skip
STARCODER_SIZES = {
    **SIZES, "n_positions": 256, "n_embd": 128, "n_layer": 2, "n_head": 4, "activation_function": "gelu_pytorch_tanh"
}  # fmt: skip
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "one key-value head each": ("gpt_bigcode", {**STARCODER_SIZES, "multi_query": False}),
    "exact gelu, own inner width": ("gpt_bigcode", {**STARCODER_SIZES, "activation_function": "gelu", "n_inner": 320}),
    "head_dim, biases": (
        "llama", {**LLAMA_SIZES, "head_dim": 48, "attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-4},
    ),
    "tied": ("llama", {**LLAMA_SIZES, "tie_word_embeddings": True}),
    "llama3 positions": ("llama", {**LLAMA_SIZES, "rope_parameters": LLAMA3}),
    "linear positions": (
        "llama", {**LLAMA_SIZES, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e6, "factor": 4.0}},
    ),
    "sliding window": ("mistral", {**LLAMA_SIZES, "sliding_window": 16}),
    "multi-head": ("mistral", {**LLAMA_SIZES, "num_key_value_heads": 4, "sliding_window": None}),
}  # fmt: skip


def save_random(architecture: str, settings: dict[str, Any], folder: Path) -> Path:
    """A float16 checkpoint without tokenizer, its biases and norms off their starting values."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    with quiet_libraries():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **settings))
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += torch.randn_like(parameter) * 0.1
        model.half().save_pretrained(folder)
    return folder


def convert(source: Path, out: Path, weights: str = "fp16", threads: int = 2) -> Path:
    out.mkdir()
    FORMAT.convert(open_checkpoint(str(source)), OnnxOptions(weights=weights), out, ConversionContext(threads=threads))
    return out


def reference(folder: Path, ids: np.ndarray = IDS) -> np.ndarray:
    from transformers import AutoModelForCausalLM

    with quiet_libraries(), torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        return model(torch.from_numpy(ids)).logits.numpy()


def open_graph(file: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def run(
    graph: Any,
    ids: np.ndarray,
    past: Sequence[np.ndarray] | None = None,
    mask: np.ndarray | None = None,
    positions: np.ndarray | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits and the cache after a forward pass."""
    values = [value for value in graph.get_inputs() if value.name.startswith("past")]
    if past is None:
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        past = [np.zeros((len(ids), v.shape[1], 0, v.shape[3]), kinds[v.type]) for v in values]
    before = past[0].shape[2]
    total = before + ids.shape[1]
    feed = {
        "input_ids": ids,
        "attention_mask": np.ones((len(ids), total), np.int64) if mask is None else mask,
        "position_ids": np.tile(np.arange(before, total), (len(ids), 1)) if positions is None else positions,
    }
    logits, *present = graph.run(None, feed | {v.name: p for v, p in zip(values, past, strict=True)})
    return logits, present


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama", "mistral"])
def test_both_graphs_compute_what_transformers_computes(architecture, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint(architecture)
    out = convert(source, tmp_path / "out")
    expected = reference(source)
    for name, tolerance in zip(GRAPHS, (1e-5, 3e-3), strict=True):
        onnx.checker.check_model(str(out / name), full_check=True)
        graph = open_graph(out / name)
        logits, _ = run(graph, IDS)
        assert logits.dtype == np.float32
        assert distance(logits, expected) < tolerance
        head, past = run(graph, IDS[:, :23])
        tail, past = run(graph, IDS[:, 23:-1], past)
        last, _ = run(graph, IDS[:, -1:], past)
        assert distance(np.concatenate([head, tail, last], axis=1), expected) < tolerance
    assert (out / "tokenizer.json").is_file()
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant, tmp_path):
    source = save_random(*VARIANTS[variant], tmp_path / "source")
    out = convert(source, tmp_path / "out")
    expected = reference(source)
    graph = open_graph(out / "model.onnx")
    assert distance(run(graph, IDS)[0], expected) < 1e-5
    head, past = run(graph, IDS[:, :19])
    tail, _ = run(graph, IDS[:, 19:], past)
    assert distance(np.concatenate([head, tail], axis=1), expected) < 1e-5
    assert distance(run(open_graph(out / "model_fp16.onnx"), IDS)[0], expected) < 5e-3


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama"])
def test_padding_on_either_side_changes_nothing(architecture, name, tiny_checkpoint, tmp_path):
    graph = open_graph(convert(tiny_checkpoint(architecture), tmp_path / "out") / name)
    alone = [run(graph, IDS[:1, :30])[0][0], run(graph, IDS[1:, :12])[0][0]]
    for left in (True, False):
        ids, mask = np.zeros((2, 30), np.int64), np.zeros((2, 30), np.int64)
        places = [slice(0, 30), slice(18, 30) if left else slice(0, 12)]
        for row, place in enumerate(places):
            ids[row, place] = IDS[row, : len(alone[row])]
            mask[row, place] = 1
        positions = np.maximum(mask.cumsum(1) - 1, 0)
        logits, _ = run(graph, ids, mask=mask, positions=positions)
        for row, place in enumerate(places):
            assert distance(logits[row, place], alone[row]) < (1e-5 if name == "model.onnx" else 3e-3)


def unpack(packed: torch.Tensor, count: int) -> torch.Tensor:
    return torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2)[..., :count]


def dequantize(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """What MatMulNBits multiplies with."""
    rows, columns = weight.shape
    codes, scales, zeros = quantize(weight, bits)
    integers = codes if bits == 8 else unpack(codes, 32)
    offsets = torch.tensor(128) if zeros is None else unpack(zeros, scales.shape[1])[..., None]
    values = (integers.float() - offsets.float()) * scales.float()[..., None]
    return values.reshape(rows, -1)[:, :columns]


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama"])
def test_quantized_graphs_compute_with_the_quantized_weights(architecture, weights, tiny_checkpoint, tmp_path):
    from transformers import AutoModelForCausalLM

    source = tiny_checkpoint(architecture)
    out = convert(source, tmp_path / "out", weights)
    with quiet_libraries(), torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                bits = 8 if name == "lm_head" else BITS[weights]
                module.weight = torch.nn.Parameter(dequantize(module.weight, bits))  # the embedding stays as it was
        expected = model(torch.from_numpy(IDS)).logits.numpy()
    assert distance(run(open_graph(out / "model_fp16.onnx"), IDS)[0], expected) < 5e-3
    # Activations in 8 bits; random weights this large spread an error more than trained ones do.
    assert distance(run(open_graph(out / "model.onnx"), IDS)[0], expected) < 0.05
    assert distance(expected, reference(source)) < {"int8": 0.05, "int4": 0.5}[weights]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [64, 96, 256])
def test_blocks_are_those_of_onnxruntimes_own_quantizer(bits, columns):
    state = pytest.importorskip("onnxruntime.capi._pybind_state")
    weight = (np.random.default_rng(bits).standard_normal((64, columns)) * 0.02).astype(np.float16)
    weight[0], weight[1], weight[2] = 0, np.abs(weight[1]), -np.abs(weight[2])
    weight[3] *= np.float16(1e-4)
    blocks = columns // 32
    codes = np.zeros((64, blocks, 4 * bits), np.uint8)
    scales, zeros = np.zeros(64 * blocks, np.float16), np.zeros((64, -(-blocks // 2)), np.uint8)
    if bits == 8:
        zeros = np.zeros((64, blocks), np.uint8)
    make = {4: state.quantize_matmul_4bits, 8: state.quantize_matmul_8bits}[bits]
    make(codes, np.ascontiguousarray(weight.T), scales, zeros.reshape(-1), 32, 64, columns, bits == 8)
    found = quantize(torch.from_numpy(weight), bits)
    assert np.array_equal(found[0].numpy(), codes)
    assert np.array_equal(found[1].numpy().ravel(), scales)
    if found[2] is not None:
        assert torch.equal(unpack(found[2], blocks), unpack(torch.from_numpy(zeros), blocks))


def test_columns_that_fill_no_block_are_padded():
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    for bits, tolerance in ((4, 0.15), (8, 0.02)):
        assert float((dequantize(weight, bits) - weight).abs().max()) < tolerance * float(weight.abs().max())


@pytest.mark.parametrize("weights", ["fp16", "int8", "int4"])
def test_bytes_do_not_depend_on_threads_or_chunks(weights, tiny_checkpoint, tmp_path, monkeypatch):
    source = tiny_checkpoint("llama")
    first = convert(source, tmp_path / "one", weights, threads=1)
    monkeypatch.setattr(tensors, "CHUNK_BYTES", 1 << 14)
    assert len(open_checkpoint(str(source)).tensors["model.embed_tokens.weight"].chunks) > 8
    second = convert(source, tmp_path / "two", weights, threads=3)
    for file in FORMAT.weight_files(first):
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_no_tensor_is_read_whole(tiny_checkpoint, tmp_path, monkeypatch):
    most = 0
    read_chunk = Checkpoint.read_chunk

    def watched(self: Checkpoint, name: str, place: int) -> torch.Tensor:
        nonlocal most
        values = read_chunk(self, name, place)
        most = max(most, values.nbytes)
        return values

    monkeypatch.setattr(tensors, "CHUNK_BYTES", 1 << 14)
    monkeypatch.setattr(Checkpoint, "read_chunk", watched)
    monkeypatch.delattr(Checkpoint, "read")
    convert(tiny_checkpoint("gpt_bigcode"), tmp_path / "out", "int4")
    assert 0 < most <= 1 << 14


@pytest.mark.parametrize("weights", ["fp16", "int8", "int4"])
@pytest.mark.parametrize("architecture", ["gpt_bigcode", "llama"])
def test_sizes_are_predicted(architecture, weights, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint(architecture)
    out = convert(source, tmp_path / "out", weights)
    real = {file.name: file.stat().st_size for file in FORMAT.weight_files(out)}
    assert set(real) == {*GRAPHS, "model.onnx_data"}
    predicted = FORMAT.predicted_bytes(open_checkpoint(str(source)), OnnxOptions(weights=weights))
    assert predicted == sum(real.values())


def giant(layers: int = 40) -> Checkpoint:
    """SQLCoder-15B's names and shapes without its weights."""
    config = {
        "model_type": "gpt_bigcode", "n_embd": 6144, "n_layer": layers, "n_head": 48, "vocab_size": 49152,
        "n_positions": 8192, "n_inner": 24576, "activation_function": "gelu_pytorch_tanh",
    }  # fmt: skip
    shapes = {"transformer.wte": (49152, 6144), "transformer.wpe": (8192, 6144)}
    for layer in range(layers):
        path = f"transformer.h.{layer}"
        shapes |= {
            f"{path}.attn.c_attn": (6400, 6144), f"{path}.attn.c_proj": (6144, 6144),
            f"{path}.mlp.c_fc": (24576, 6144), f"{path}.mlp.c_proj": (6144, 24576),
        }  # fmt: skip
        shapes |= {f"{path}.ln_1": (6144,), f"{path}.ln_2": (6144,)}
    shapes |= {"transformer.ln_f": (6144,)}
    found = {}
    for path, shape in shapes.items():
        found[f"{path}.weight"] = shape
        if ".w" not in path:
            found[f"{path}.bias"] = shape[:1]
    infos = {name: TensorInfo(name, "F16", shape, Path("x.safetensors")) for name, shape in found.items()}
    return Checkpoint("giant", Path("giant"), None, config, infos)


@pytest.mark.parametrize(("weights", "bits"), [("fp16", 16.0), ("int8", 8.5), ("int4", 4.625)])
def test_files_beyond_2_gigabytes_are_laid_out(weights, bits):
    checkpoint = giant()
    predicted = FORMAT.predicted_bytes(checkpoint, OnnxOptions(weights=weights))
    embedding, small = 49152 * 6144, 8192 * 6144
    linear = checkpoint.parameters - embedding - small
    head = 0 if weights == "fp16" else embedding * 8.5 / 8
    assert predicted == pytest.approx(linear * bits / 8 + head + 2 * (embedding + small), rel=0.002)


def test_weights_lie_on_boundaries(tiny_checkpoint):
    weights = Weights(open_checkpoint(str(tiny_checkpoint("gpt_bigcode"))), 4)
    weights.floats("transformer.ln_f.bias")
    weights.blocks("w", ["transformer.h.0.mlp.c_fc.weight"], 4)
    weights.floats("transformer.wte.weight")
    places, parts = weights.lay_out()
    assert [place.offset % 64 for place in places.values()] == [0] * 5
    assert all(places[name].offset % 4096 == 0 for name in ("w.codes", "transformer.wte.weight"))
    ends = [place.offset + place.nbytes for place in places.values()]
    assert all(end <= place.offset for end, place in zip(ends, list(places.values())[1:], strict=False))
    assert sum(part.nbytes for part in parts) == ends[-1]


def test_offsets_beyond_32_bits_stand_in_the_graph():
    graph = Graph("g")
    graph.output(graph.node("Identity", "w"), "y", "float16", (2, 2))
    model = graph.to_model({"w": Place("float16", (2, 2), 5 << 32, 8)})
    facts = {entry.key: entry.value for entry in model.graph.initializer[0].external_data}
    assert facts == {"location": "model.onnx_data", "offset": str(5 << 32), "length": "8"}


def edited(source: Path, out: Path, **changes: Any) -> Path:
    """The same checkpoint with other settings in its config."""
    out.mkdir()
    for file in source.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | changes))
    return out


@pytest.mark.parametrize(
    ("architecture", "changes", "words"),
    [
        ("gpt_bigcode", {"activation_function": "relu"}, "activation_function 'relu'"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        ("llama", {"num_hidden_layers": 3}, r"lacks model\.layers\.2"),
    ],
)
def test_what_is_not_written_down_is_refused(architecture, changes, words, tiny_checkpoint, tmp_path):
    source = edited(tiny_checkpoint(architecture), tmp_path / "source", **changes)
    with pytest.raises(CheckpointError, match=words):
        convert(source, tmp_path / "out")


@pytest.mark.parametrize("weights", ["fp16", "int4"])
def test_a_damaged_checkpoint_is_refused(weights, tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    source = edited(tiny_checkpoint("gpt_bigcode"), tmp_path / "source")
    found = load_file(source / "model.safetensors")
    found["transformer.h.1.mlp.c_fc.weight"][3, 5] = float("nan")
    save_file(found, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"c_fc\.weight holds NaN"):
        convert(source, tmp_path / "out", weights)


def test_old_configs_say_rope_otherwise(tiny_checkpoint, tmp_path):
    source = tiny_checkpoint("llama")
    old = edited(source, tmp_path / "old", rope_parameters=None, rope_theta=10000.0, rope_scaling=None)
    assert distance(run(open_graph(convert(old, tmp_path / "out") / "model.onnx"), IDS)[0], reference(source)) < 1e-5
