"""GGUF files against gguf's own reader and ggml's definition of each type."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import sqlcoder_15b
from starcoder import VOCABULARY, make_starcoder

from workbench.chat_template import chat_template
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import CheckpointError, PrerequisiteError
from workbench.formats import _ggml
from workbench.formats._gguf_bytelevel import pre_tokenizer_name
from workbench.formats._gguf_layout import plan_tensors
from workbench.formats._gguf_metadata import metadata
from workbench.formats._gguf_types import BLOCKS, FILE_TYPES, Mixture, tensor_type, use_more_bits
from workbench.formats.base import ConversionContext
from workbench.formats.gguf import FORMAT, GgufOptions

gguf = pytest.importorskip("gguf")
TYPES = sorted(FILE_TYPES)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(make_starcoder(tmp_path_factory.mktemp("gguf") / "tiny")))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Rows of 64: no K-quant fits, every fallback does."""
    return open_checkpoint(str(make_starcoder(tmp_path_factory.mktemp("gguf") / "narrow", layers=2, width=64)))


def convert(checkpoint: Checkpoint, kind: str, out: Path) -> Path:
    FORMAT.convert(checkpoint, GgufOptions(type=kind), out, ConversionContext())
    return out / f"{checkpoint.model_name}.{kind.upper()}.gguf"


def read(file: Path):
    """gguf's reader: tensors by name (its arrays are views into the file)."""
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


@pytest.mark.parametrize("kind", TYPES)
def test_size_is_predicted_to_the_byte(checkpoint, narrow, kind, tmp_path) -> None:
    for source in (checkpoint, narrow):
        file = convert(source, kind, tmp_path)
        assert file.stat().st_size == FORMAT.predicted_bytes(source, GgufOptions(type=kind))


@pytest.mark.parametrize(("kind", "published_gb"), [("q4_0", 8.99), ("q4_k_m", 9.96), ("q5_k_m", 11.5)])
def test_size_without_a_tokenizer_is_close_to_published_files(kind, published_gb) -> None:
    """Sizes listed by TheBloke/sqlcoder-GGUF, made by the llama.cpp of 2023 with slightly other mixtures."""
    predicted = FORMAT.predicted_bytes(sqlcoder_15b(), GgufOptions(type=kind))
    assert predicted / 1e9 == pytest.approx(published_gb, rel=0.012)


@pytest.mark.parametrize("kind", TYPES)
def test_weights_come_back(checkpoint, kind, tmp_path) -> None:
    """gguf's own dequantization of each tensor is as near to the source as its bits allow."""
    tensors = read(convert(checkpoint, kind, tmp_path))
    limit = {
        "F32": 0.0, "F16": 0.0, "BF16": 0.003, "Q8_0": 0.01, "Q6_K": 0.02, "Q5_K": 0.05, "Q4_K": 0.09, "Q4_0": 0.11,
        "Q3_K": 0.18, "Q2_K": 0.4,
    }  # fmt: skip
    plans = plan_tensors(checkpoint, FILE_TYPES[kind])
    assert [plan.name for plan in plans] == list(tensors)
    for plan in plans:
        source = checkpoint.read(plan.source).float().numpy()
        tensor = tensors[plan.name]
        assert tensor.tensor_type.name == plan.type
        found = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(source.shape)
        assert np.linalg.norm(found - source) <= limit[plan.type] * np.linalg.norm(source), plan.name


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_0", "Q5_1"])
def test_plain_types_equal_those_of_gguf(kind) -> None:
    """gguf's numpy packing is another author's reading of the same definition."""
    weights = torch.randn(96, 256, generator=torch.Generator().manual_seed(1))
    expected = gguf.quantize(weights.numpy(), gguf.GGMLQuantizationType[kind])
    assert np.array_equal(_ggml.pack(weights, kind, "w"), expected.reshape(-1))


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K", "Q8_0"])
def test_bytes_do_not_depend_on_pieces(kind) -> None:
    weights = torch.randn(300, 256, generator=torch.Generator().manual_seed(2)).half()
    pieces = [_ggml.pack(weights[first : first + 7], kind, "w") for first in range(0, 300, 7)]
    assert np.array_equal(np.concatenate(pieces), _ggml.pack(weights, kind, "w"))


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K"]),
    rows=st.integers(1, 5),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 300.0]),
    seed=st.integers(0, 2**31),
)
def test_error_stays_below_a_step(kind, rows, scale, seed) -> None:
    weights = scale * torch.randn(rows, 256, generator=torch.Generator().manual_seed(seed))
    packed = _ggml.pack(weights, kind, "w").reshape(rows, -1)
    found = gguf.dequantize(packed, gguf.GGMLQuantizationType[kind])
    bits = {"Q8_0": 8, "Q6_K": 6, "Q5_K": 5}.get(kind, 4)
    assert np.abs(found - weights.numpy()).max() <= 2.5 * float(weights.abs().max()) / 2 ** (bits - 1) + 1e-6


def test_ggml_agrees_on_the_size_of_a_block() -> None:
    lib = _ggml.library()
    lib.ggml_type_size.restype = _ggml.ctypes.c_size_t
    lib.ggml_blck_size.restype = _ggml.ctypes.c_int64
    for kind, number in _ggml.TYPE_NUMBERS.items():
        assert (lib.ggml_blck_size(number), lib.ggml_type_size(number)) == BLOCKS[kind]
        assert gguf.GGMLQuantizationType[kind] == number


def test_the_mixture_of_four_layers(checkpoint) -> None:
    """As llama-quantize prints for Q4_K_M of a 4-layer starcoder: layers 2 and 3 get more bits."""
    types = {plan.name: plan.type for plan in plan_tensors(checkpoint, FILE_TYPES["q4_k_m"])}
    six = {name for name, kind in types.items() if kind == "Q6_K"}
    assert six == {
        "token_embd.weight", "blk.2.attn_qkv.weight", "blk.3.attn_qkv.weight",
        "blk.2.ffn_down.weight", "blk.3.ffn_down.weight",
    }  # fmt: skip
    assert types["position_embd.weight"] == types["blk.0.attn_qkv.bias"] == types["output_norm.weight"] == "F32"


def test_forty_layers_get_more_bits_in_twenty() -> None:
    chosen = [layer for layer in range(40) if use_more_bits(layer, 40)]
    assert chosen == [0, 1, 2, 3, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 35, 36, 37, 38, 39]


@pytest.mark.parametrize(
    ("base", "width", "is_head", "expected"),
    [
        ("q4_k_m", 256, False, "Q4_K"), ("q4_k_m", 288, False, "Q5_0"), ("q5_k_m", 288, False, "Q5_1"),
        ("q6_k", 288, False, "Q8_0"), ("q4_k_m", 288, True, "Q8_0"), ("q8_0", 256, True, "Q8_0"),
        ("q4_0", 256, True, "Q6_K"), ("q4_0", 288, True, "Q8_0"),
        ("q2_k", 288, False, "Q4_0"), ("q3_k_m", 288, False, "Q4_0"), ("q2_k", 256, True, "Q6_K"),
        ("q4_k_m", 100, False, "F16"), ("f16", 256, True, "F16"), ("bf16", 100, True, "BF16"),
    ],
)  # fmt: skip
def test_type_of_a_matrix(base, width, is_head, expected) -> None:
    name = "token_embd.weight" if is_head else "blk.1.ffn_up.weight"
    assert tensor_type(name, (8, width), Mixture(FILE_TYPES[base], 12, 4, 1, tied=True)) == expected


def test_metadata_is_what_llama_cpp_needs(checkpoint, tmp_path) -> None:
    from transformers import AutoTokenizer

    fields = gguf.GGUFReader(convert(checkpoint, "q8_0", tmp_path)).fields
    value = {key: field.contents() for key, field in fields.items()}
    assert value["general.architecture"] == "starcoder"
    assert value["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    assert value["starcoder.context_length"] == 512
    assert value["starcoder.attention.head_count"] == 4
    assert value["starcoder.attention.head_count_kv"] == 1
    assert value["starcoder.feed_forward_length"] == 512
    assert value["tokenizer.ggml.pre"] == "starcoder"
    assert value["tokenizer.ggml.eos_token_id"] == value["tokenizer.ggml.bos_token_id"] == 0
    tokens = AutoTokenizer.from_pretrained(checkpoint.path).convert_ids_to_tokens(range(VOCABULARY))
    assert value["tokenizer.chat_template"] == chat_template(checkpoint.prompt)
    assert [token or f"[PAD{i}]" for i, token in enumerate(tokens)] == value["tokenizer.ggml.tokens"]
    assert value["tokenizer.ggml.token_type"][:2] == [gguf.TokenType.CONTROL, gguf.TokenType.NORMAL]


def test_file_types_have_llama_cpps_numbers() -> None:
    for kind, file_type in FILE_TYPES.items():
        assert gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"] == file_type.number


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint, tmp_path) -> None:
    (tmp_path / "again").mkdir()
    files = [convert(checkpoint, "q4_k_m", tmp_path), convert(checkpoint, "q4_k_m", tmp_path / "again")]
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1


def test_masks_and_a_tied_head_are_left_out_and_strangers_refused(checkpoint) -> None:
    info = checkpoint.tensors["transformer.wte.weight"]
    more = {"transformer.h.0.attn.bias": info, "lm_head.weight": info}
    padded = Checkpoint("x", checkpoint.path, None, checkpoint.config, {**checkpoint.tensors, **more})
    assert len(plan_tensors(padded, FILE_TYPES["f16"])) == len(checkpoint.tensors)
    untied = Checkpoint("x", checkpoint.path, None, {**checkpoint.config, "tie_word_embeddings": False}, padded.tensors)
    assert {p.name: p.type for p in plan_tensors(untied, FILE_TYPES["q4_k_m"])}["output.weight"] == "Q6_K"
    strange = Checkpoint("x", checkpoint.path, None, checkpoint.config, {"transformer.h.0.attn.gate.weight": info})
    with pytest.raises(CheckpointError, match=r"attn\.gate"):
        plan_tensors(strange, FILE_TYPES["f16"])


def test_a_tokenizer_llama_cpp_cannot_follow_is_refused(checkpoint) -> None:
    document = json.loads((checkpoint.path / "tokenizer.json").read_text())
    assert pre_tokenizer_name(document, "f") == "starcoder"
    digits, byte_level = document["pre_tokenizer"]["pretokenizers"]
    assert pre_tokenizer_name({**document, "pre_tokenizer": byte_level}, "f") == "gpt-2"
    grouped = {**digits, "individual_digits": False}
    for change in (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [grouped, byte_level]}},
        {"pre_tokenizer": {**byte_level, "add_prefix_space": True}},
        {"pre_tokenizer": None},
        {"normalizer": {"type": "NFC"}},
    ):
        with pytest.raises(CheckpointError, match="no name for"):
            pre_tokenizer_name({**document, **change}, "f")


def test_a_checkpoint_without_tokenizer_or_with_many_kv_heads_is_refused(checkpoint, tmp_path) -> None:
    bare = Checkpoint("x", tmp_path, None, checkpoint.config, checkpoint.tensors)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        metadata(bare, FILE_TYPES["f16"])
    many = Checkpoint("x", checkpoint.path, None, {**checkpoint.config, "multi_query": False}, checkpoint.tensors)
    with pytest.raises(CheckpointError, match="key-value head"):
        metadata(many, FILE_TYPES["f16"])


def test_weights_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"tensor w: .*NaN"):
        _ggml.pack(torch.tensor([[float("nan")] * 32]), "Q8_0", "w")


def test_a_missing_library_says_how_to_get_it(monkeypatch) -> None:
    _ggml.library.cache_clear()
    monkeypatch.setattr(_ggml, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match="pip install libggml-python"):
        _ggml.library()
    _ggml.library.cache_clear()
