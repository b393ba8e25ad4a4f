"""Checkpoints that are shapes only: true sizes, no bytes on disk. Enough for everything that plans."""

from pathlib import Path

from workbench.checkpoint import Checkpoint
from workbench.tensors import TensorInfo

SQLCODER_CONFIG = {
    "model_type": "gpt_bigcode",
    "n_layer": 40,
    "n_embd": 6144,
    "n_head": 48,
    "n_inner": 24576,
    "vocab_size": 49152,
    "n_positions": 8192,
    "multi_query": True,
    "tie_word_embeddings": True,
}


def gpt_bigcode_tensors(config, dtype="F16"):
    """Names and shapes of a gpt_bigcode checkpoint with multi-query attention, (out, in) linears."""
    width, inner, kv = config["n_embd"], config["n_inner"], config["n_embd"] // config["n_head"]
    shapes = {
        "transformer.wte.weight": (config["vocab_size"], width),
        "transformer.wpe.weight": (config["n_positions"], width),
        "transformer.ln_f.weight": (width,),
        "transformer.ln_f.bias": (width,),
    }
    for layer in range(config["n_layer"]):
        block = f"transformer.h.{layer}"
        for part, (rows, columns) in {
            "attn.c_attn": (width + 2 * kv, width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (inner, width),
            "mlp.c_proj": (width, inner),
        }.items():
            shapes[f"{block}.{part}.weight"] = (rows, columns)
            shapes[f"{block}.{part}.bias"] = (rows,)
        for norm in ("ln_1", "ln_2"):
            shapes[f"{block}.{norm}.weight"] = (width,)
            shapes[f"{block}.{norm}.bias"] = (width,)
    return {name: TensorInfo(name, dtype, shape, Path("nowhere.safetensors")) for name, shape in shapes.items()}


def sqlcoder_15b():
    """defog/sqlcoder's true shape."""
    return Checkpoint("defog/sqlcoder", Path("nowhere"), None, SQLCODER_CONFIG, gpt_bigcode_tensors(SQLCODER_CONFIG))
