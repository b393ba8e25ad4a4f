"""Checkpoints of the true shapes with random weights, to convert at full size what cannot be fetched.

    python -m benchmarks.checkpoints --shape 15b --out /data/sqlcoder-random

The weights are normal with the standard deviation of a trained model's (0.02), in the dtype the real repository has.
They come from one tile of 128 MiB, cut at another place for each chunk, because drawing 15.5 billion normal numbers
would take longer than the conversion; every block of 256 weights is still a different one.
The tokenizer is the bundled model's: its 2,048 tokens stand at the beginning of a larger vocabulary.
"""

from __future__ import annotations

import argparse
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.checkpoint import Checkpoint
from workbench.formats._floats import raw
from workbench.formats._output import Output
from workbench.formats._safetensors import Group, Spec, safetensors_files, write_index
from workbench.formats.base import ConversionContext
from workbench.nano import MODEL_DIR
from workbench.tensors import TensorInfo
from workbench.terminal import Terminal

STARCODER: dict[str, Any] = {
    "model_type": "gpt_bigcode", "architectures": ["GPTBigCodeForCausalLM"], "activation_function": "gelu_pytorch_tanh",
    "multi_query": True, "n_inner": None, "vocab_size": 49152, "n_positions": 8192, "layer_norm_epsilon": 1e-5,
    "bos_token_id": 0, "eos_token_id": 0, "scale_attn_weights": True, "tie_word_embeddings": True,
    "attention_softmax_in_fp32": True, "scale_attention_softmax_in_fp32": True,
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
}  # fmt: skip
# Sizes by the models' own configs; 0.16b and 0.87b are StarCoders between the bundled one and the published 1B.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "0.16b": ("F16", {**STARCODER, "n_layer": 8, "n_embd": 1024, "n_head": 8, "n_inner": 4096}),
    "0.87b": ("BF16", {**STARCODER, "n_layer": 18, "n_embd": 2048, "n_head": 16}),
    "3b": ("F16", {**STARCODER, "n_layer": 36, "n_embd": 2816, "n_head": 22}),
    "15b": ("F16", {**STARCODER, "n_layer": 40, "n_embd": 6144, "n_head": 48}),
    "mistral-7b": ("BF16", {
        **LLAMA, "architectures": ["MistralForCausalLM"], "model_type": "mistral", "num_hidden_layers": 32,
        "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window": 4096, "rope_theta": 10000.0,
    }),
    "llama-7b": ("F16", {
        **LLAMA, "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32016, "max_position_embeddings": 16384,
    }),
}  # fmt: skip
TILE_WEIGHTS = 1 << 26


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters, from its class on the meta device."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **settings))
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def make(shape: str, out: Path) -> None:
    """Write the checkpoint of a shape into a new folder."""
    dtype, config = SHAPES[shape]
    out.mkdir(parents=True)
    rng = np.random.default_rng(0)
    tile = torch.from_numpy(rng.standard_normal(TILE_WEIGHTS, dtype=np.float32) * 0.02)
    tile = tile.to({"F16": torch.float16, "BF16": torch.bfloat16}[dtype])
    groups = []
    for number, (name, sizes) in enumerate(tensor_shapes(config).items()):
        info = TensorInfo(name, dtype, sizes, out)
        pieces = [partial(_piece, tile, info, rows, number * 7919 + place) for place, rows in enumerate(info.chunks)]
        groups.append(Group((Spec(name, dtype, sizes),), lambda pieces=pieces: pieces))
    files = safetensors_files(groups)
    terminal = Terminal()
    context = ConversionContext(progress=lambda done, total, what: terminal.advance(what, done, total))
    with Output(files, out, Checkpoint(shape, out, None, config, {}), context) as output:
        output.write_all()
    write_index(out, groups, files)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for file in MODEL_DIR.glob("*token*.json"):
        shutil.copyfile(file, out / file.name)


def _piece(tile: torch.Tensor, info: TensorInfo, rows: slice, seed: int) -> Any:
    """Some rows of a tensor: a stretch of the tile that begins at a place of its own; norms are ones."""
    count = (rows.stop - rows.start) * info.numel // info.rows
    if len(info.shape) == 1 and info.name.endswith("weight"):
        return raw(torch.ones(count, dtype=tile.dtype))
    first = seed * 104729 % (len(tile) - count)
    return raw(tile[first : first + count])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    make(arguments.shape, arguments.out)
