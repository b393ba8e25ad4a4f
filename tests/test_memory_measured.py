"""Predicted memory beside resident sets that were watched from outside the engine's process (VmHWM, Linux, CPU).

Models of random weights and true shapes, made by ``benchmarks/checkpoints.py``; llama.cpp reserves its whole context,
the other engines what prompt and answer take. Each row is one run: MiB at the peak, loading included.
"""

from functools import cache
from pathlib import Path

import pytest

from workbench import catalog
from workbench.checkpoint import Checkpoint
from workbench.config_tensors import config_tensors
from workbench.served import Served

STARCODER = {"model_type": "gpt_bigcode", "multi_query": True, "vocab_size": 49152, "n_positions": 8192}
CONFIGS = {
    "starcoder-0.88b": {**STARCODER, "n_layer": 18, "n_embd": 2048, "n_head": 16},
    "starcoder-0.16b": {**STARCODER, "n_layer": 20, "n_embd": 768, "n_head": 12},
    "llama-0.37b": {
        "model_type": "llama", "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 2816, "vocab_size": 32016, "max_position_embeddings": 16384,
        "tie_word_embeddings": False,
    },
    "llama-1.1b": {
        "model_type": "llama", "num_hidden_layers": 22, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 4, "intermediate_size": 5632, "vocab_size": 32000, "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    },
}  # fmt: skip
# model, recipe, tokens, batch, MiB measured
MEASURED = [
    ("starcoder-0.88b", "fp16", 303, 1, 5451),
    ("starcoder-0.88b", "int8", 303, 1, 2174),
    ("starcoder-0.88b", "onnx-int4", 303, 1, 1250),
    ("starcoder-0.88b", "onnx-int8", 303, 1, 1604),
    ("starcoder-0.88b", "onnx-fp16", 303, 1, 3781),
    ("starcoder-0.88b", "gguf-q4_k_m", 1024, 1, 1019),
    ("starcoder-0.88b", "gguf-q8_0", 1024, 1, 1045),
    ("starcoder-0.88b", "gguf-f16", 1024, 1, 1810),
    ("llama-0.37b", "fp16", 203, 1, 2542),
    ("llama-0.37b", "fp16", 2003, 1, 2640),
    ("llama-0.37b", "fp16", 503, 4, 2583),
    ("llama-0.37b", "int8", 2003, 1, 1817),
    ("llama-0.37b", "onnx-int8", 203, 1, 951),
    ("llama-0.37b", "onnx-int8", 1603, 1, 1832),
    ("llama-0.37b", "onnx-int4", 1003, 1, 1325),
    ("llama-0.37b", "onnx-fp16", 1003, 1, 2311),
    ("llama-0.37b", "gguf-q8_0", 8192, 1, 1240),
    ("llama-0.37b", "gguf-q8_0", 1024, 1, 557),
    ("llama-0.37b", "gguf-q4_0", 2048, 1, 640),
    ("llama-0.37b", "gguf-q4_k_m", 2048, 1, 634),
    ("llama-0.37b", "gguf-q5_k_m", 2048, 1, 524),
    ("llama-0.37b", "gguf-q6_k", 2048, 1, 567),
    ("starcoder-0.16b", "fp16", 203, 1, 1343),
    ("starcoder-0.16b", "fp16", 4003, 1, 1346),
    ("starcoder-0.16b", "fp16", 903, 4, 1448),
    ("starcoder-0.16b", "gguf-q4_k_m", 8192, 1, 297),
    ("starcoder-0.16b", "onnx-int4", 1603, 1, 1525),
    ("llama-1.1b", "gguf-q4_k_m", 1024, 1, 1197),
    ("llama-1.1b", "gguf-q8_0", 1024, 1, 1226),
    ("llama-1.1b", "onnx-int4", 203, 1, 1370),
    ("llama-1.1b", "onnx-int8", 203, 1, 1816),
    ("llama-1.1b", "int8", 203, 1, 2629),
]


@cache
def served(name):
    folder = Path("nowhere")
    tensors = config_tensors(CONFIGS[name], folder)
    return Served(Checkpoint(name, folder, None, CONFIGS[name], tensors, from_config=True), 8)


@pytest.mark.parametrize(("model", "recipe", "tokens", "batch", "mib"), MEASURED)
def test_the_peak_is_predicted_within_a_tenth(model, recipe, tokens, batch, mib):
    found = served(model).memory(catalog.get_recipe(recipe), "cpu").peak(tokens, batch)
    assert found / 2**20 == pytest.approx(mib, rel=0.1)
