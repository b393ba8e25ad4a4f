"""Llamas and mistrals in GGUF: names, row order, rotary embedding, types, the header; and llama.cpp's logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llamas
import numpy as np
import pytest
import torch
from starcoder import make_starcoder

from workbench.artifact import Artifact, Manifest
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import CheckpointError
from workbench.formats._gguf_header import header_bytes
from workbench.formats._gguf_layout import llama3_factors, permute_rows, plan_tensors
from workbench.formats._gguf_metadata import metadata
from workbench.formats._gguf_names import gguf_names
from workbench.formats._gguf_types import FILE_TYPES, Mixture, tensor_type
from workbench.formats.base import ConversionContext
from workbench.formats.gguf import FORMAT, GgufOptions
from workbench.runtimes.base import LoadOptions
from workbench.runtimes.llama_cpp import RUNTIME

gguf = pytest.importorskip("gguf")
PROMPTS = ["SELECT", "SELECT name, count(*) FROM city WHERE size > 10 GROUP BY name", "Größe 12345 " * 8]
MODELS: dict[str, dict[str, Any]] = {
    "multi-head": {"num_key_value_heads": 4},
    "grouped": {},
    "one key-value head": {"num_key_value_heads": 1},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "tied": {"tie_word_embeddings": True},
    "wide heads": {"head_dim": 96, "num_attention_heads": 2, "num_key_value_heads": 1},
    "another base": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    "llama3": {"rope_parameters": llamas.LLAMA3_ROPE},
    "mistral": {"kind": "mistral", "sliding_window": None},
    "bfloat16": {"dtype": "bfloat16"},
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(llamas.make_llama(tmp_path_factory.mktemp("llama") / "tiny")))


@pytest.mark.parametrize("model", MODELS)
def test_llama_cpp_computes_what_transformers_does(model, tmp_path) -> None:
    """A wrong row order, base or norm would be off by whole numbers; float16 products are off by thousandths."""
    pytest.importorskip("xllamacpp")
    from transformers import AutoModelForCausalLM

    source, out = llamas.make_llama(tmp_path / "tiny", **MODELS[model]), tmp_path / "out"
    out.mkdir()
    kind = "bf16" if model == "bfloat16" else "f16"
    FORMAT.convert(open_checkpoint(str(source)), GgufOptions(type=kind), out, ConversionContext())
    made = Artifact(out, Manifest(kind, "tiny", "llama", "nano", "gguf", {}, {}, (), 1, 1, 16.0, {}, "key"))
    reference = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    with RUNTIME.load(made, LoadOptions(context=256)) as session, torch.no_grad():
        for prompt, row in zip(PROMPTS, session.logits(PROMPTS), strict=True):
            ids = torch.tensor([session.tokenize(prompt)])
            expected = reference(input_ids=ids).logits[0, -1].log_softmax(-1).numpy()
            assert np.abs(row - expected).max() < (0.15 if kind == "bf16" else 0.03)


@pytest.mark.parametrize("kind", ["llama", "gpt_bigcode"])
def test_names_are_those_of_ggufs_own_table(kind, llama, tmp_path) -> None:
    checkpoint = llama if kind == "llama" else open_checkpoint(str(make_starcoder(tmp_path / "s", layers=2)))
    arch = gguf.MODEL_ARCH.LLAMA if kind == "llama" else gguf.MODEL_ARCH.STARCODER
    table = gguf.get_tensor_name_map(arch, 2)
    for source, name in gguf_names(checkpoint).items():
        assert table.get_name(source, try_suffixes=(".weight", ".bias")) == name


def test_rows_of_a_head_are_interleaved() -> None:
    rows = torch.arange(16).reshape(8, 2)  # two heads of four rows
    assert permute_rows(rows, 4)[:, 0].tolist() == [0, 4, 2, 6, 8, 12, 10, 14]
    assert permute_rows(torch.arange(8), 4).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert torch.equal(torch.cat([permute_rows(rows[:4], 4), permute_rows(rows[4:], 4)]), permute_rows(rows, 4))


def test_only_queries_and_keys_of_a_llama_are_reordered(llama) -> None:
    moved = {plan.name for plan in plan_tensors(llama, FILE_TYPES["f16"]) if plan.head_rows}
    assert moved == {f"blk.{layer}.attn_{part}.weight" for layer in (0, 1) for part in "qk"}
    assert {plan.head_rows for plan in plan_tensors(llama, FILE_TYPES["f16"])} == {0, 64}


def test_llama3s_factors_are_transformers_own() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(hidden_size=4096, num_attention_heads=32, rope_parameters=llamas.LLAMA3_ROPE)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 1.0 / (500000.0 ** (torch.arange(0, 128, 2) / 128))
    assert torch.allclose(plain / scaled, llama3_factors(llamas.LLAMA3_ROPE, 128), rtol=1e-5)


def test_metadata_of_a_llama(llama) -> None:
    pairs = metadata(llama, FILE_TYPES["q4_k_m"])
    wanted = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.context_length": 256,
        "llama.embedding_length": 256, "llama.feed_forward_length": 512, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "llama.rope.freq_base": 10000.0, "llama.rope.dimension_count": 64,
        "llama.vocab_size": 512, "tokenizer.ggml.pre": "starcoder", "general.file_type": 15,
    }  # fmt: skip
    assert wanted.items() <= pairs.items()
    assert list(pairs)[-2:] == ["general.quantization_version", "general.file_type"]


def changed(checkpoint: Checkpoint, **config: Any) -> Checkpoint:
    return Checkpoint("x", checkpoint.path, None, {**checkpoint.config, **config}, checkpoint.tensors)


def test_old_and_new_configs_say_the_same(llama) -> None:
    base = {"rope_parameters": None, "rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 4.0}}
    new = {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6}}
    pairs = [metadata(changed(llama, **config), FILE_TYPES["f16"]) for config in (base, new)]
    assert pairs[0] == pairs[1]
    assert pairs[0]["llama.rope.scaling.factor"] == 4.0


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"num_attention_heads": None}, "num_attention_heads"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(config, reason, llama) -> None:
    with pytest.raises(CheckpointError, match=reason):
        metadata(changed(llama, **config), FILE_TYPES["f16"])


def test_a_quantized_checkpoint_is_refused(llama) -> None:
    from dataclasses import replace

    tensors = {name: replace(info, dtype="I32") for name, info in llama.tensors.items()}
    with pytest.raises(CheckpointError, match="quantized already"):
        plan_tensors(Checkpoint("x", llama.path, None, llama.config, tensors), FILE_TYPES["f16"])


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("q2_k", "blk.9.attn_v.weight", "Q4_K"), ("q2_k", "blk.9.ffn_down.weight", "Q3_K"),
        ("q2_k", "blk.9.attn_output.weight", "Q3_K"), ("q2_k", "blk.9.attn_q.weight", "Q2_K"),
        ("q2_k", "token_embd.weight", "Q2_K"), ("q2_k", "output.weight", "Q6_K"),
        ("q3_k_m", "blk.1.attn_v.weight", "Q5_K"), ("q3_k_m", "blk.9.attn_v.weight", "Q4_K"),
        ("q3_k_m", "blk.1.ffn_down.weight", "Q5_K"), ("q3_k_m", "blk.9.ffn_down.weight", "Q4_K"),
        ("q4_k_s", "blk.3.attn_v.weight", "Q5_K"), ("q4_k_s", "blk.9.attn_v.weight", "Q4_K"),
        ("q4_k_s", "blk.3.ffn_down.weight", "Q5_K"), ("q4_k_s", "blk.9.ffn_down.weight", "Q4_K"),
        ("q4_0", "blk.0.ffn_down.weight", "Q4_0"), ("q5_k_s", "blk.0.ffn_down.weight", "Q5_K"),
    ],
)  # fmt: skip
def test_mixtures_of_a_llama_of_32_layers(file, name, expected) -> None:
    """SQLCoder-7B's shape: four query heads share a key-value head."""
    assert tensor_type(name, (4096, 4096), Mixture(FILE_TYPES[file], 32, 32, 8, tied=False, llama=True)) == expected


def test_what_heads_layers_and_an_importance_matrix_change() -> None:
    multi_head = Mixture(FILE_TYPES["q2_k"], 32, 32, 32, tied=False, llama=True)
    assert tensor_type("blk.9.attn_v.weight", (4096, 4096), multi_head) == "Q3_K"
    large = Mixture(FILE_TYPES["q4_k_m"], 80, 64, 8, tied=False, llama=True)
    assert tensor_type("blk.20.attn_v.weight", (1024, 8192), large) == "Q5_K"  # llama.cpp's rule for 70B
    guarded = Mixture(FILE_TYPES["q4_0"], 32, 32, 8, tied=False, llama=True, imatrix=True)
    assert [tensor_type(f"blk.{i}.ffn_down.weight", (4096, 14336), guarded) for i in (3, 4)] == ["Q4_1", "Q4_0"]


def test_the_header_is_what_ggufs_writer_writes(llama, tmp_path) -> None:
    plans = plan_tensors(llama, FILE_TYPES["q4_k_m"])
    pairs = {**metadata(llama, FILE_TYPES["q4_k_m"]), "x.floats": [0.0, -1.5], "x.number": 0.1, "x.flag": True}
    types = gguf.GGUFValueType
    kinds = {str: types.STRING, bool: types.BOOL, int: types.UINT32, float: types.FLOAT32}
    writer = gguf.GGUFWriter(None, "llama")
    for key, value in pairs.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif key != "general.architecture":  # the writer has put it first itself
            writer.add_key_value(key, value, kinds[type(value)])
    for plan in plans:
        kind = gguf.GGMLQuantizationType[plan.type]
        writer.add_tensor_info(plan.name, plan.shape, np.dtype(np.float32), plan.nbytes, raw_dtype=kind)
    writer.write_header_to_file(tmp_path / "theirs.gguf")
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    theirs = (tmp_path / "theirs.gguf").read_bytes()
    mine = header_bytes(pairs, plans)
    assert mine[: len(theirs)] == theirs
    assert len(mine) % 32 == 0
    assert set(mine[len(theirs) :]) <= {0}


def test_every_type_has_a_tolerance_and_a_recipe() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    for kind in FILE_TYPES:
        assert FORMAT.tolerance(GgufOptions(type=kind)) > 0
        assert (recipes / f"gguf-{kind}.yaml").is_file()
