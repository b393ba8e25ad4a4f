"""Which tensor goes into a GGUF file, under which name, in which of ggml's types.

A ggml type stores a row in blocks: Q8_0 is 32 signed bytes and one half-precision scale (34 bytes);
the K-quants are super-blocks of 256 weights whose 8 or 16 small scales are themselves quantized
(Q4_K: 144 bytes, 4.5 bits a weight). A *file* type such as Q4_K_M is a mixture: 4 bits for most, 6 bits
for what hurts most when rounded: the embedding that is also the output head, and, in the first and last
eighth of the layers and every third between, the matrices that make the values (``attn_qkv``) and that
close the MLP (``ffn_down``). The rules are those of llama.cpp's ``src/llama-quant.cpp``
(``llama_tensor_get_type_impl``, ``use_more_bits``, ``tensor_type_fallback``), so that a file made here equals
one made by ``llama-quantize``. One-dimensional tensors and position embeddings stay float32.

Nothing here reads a weight: sizes are known from the checkpoint's headers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError

ALIGNMENT = 32

# Weights and bytes of one block (ggml-common.h).
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "Q4_0": (32, 18),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}

# What replaces a type whose block does not divide the row.
FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


@dataclass(frozen=True)
class FileType:
    """A mixture of tensor types.

    Attributes:
        number: llama.cpp's ``llama_ftype``, written into the file.
        base: type of most matrices.
        mixed: whether sensitive layers get Q6_K.
    """

    number: int
    base: str
    mixed: bool = False


FILE_TYPES = {
    "f16": FileType(1, "F16"),
    "q4_0": FileType(2, "Q4_0"),
    "q8_0": FileType(7, "Q8_0"),
    "q4_k_m": FileType(15, "Q4_K", mixed=True),
    "q5_k_m": FileType(17, "Q5_K", mixed=True),
    "q6_k": FileType(18, "Q6_K"),
}

# gpt_bigcode's modules under llama.cpp's names (gguf-py's tensor_mapping.py).
_WHOLE = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
_LAYER = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_MASKS = (".attn.bias", ".attn.masked_bias")  # constants of attention, not parameters; c_attn.bias is one
_SENSITIVE = ("attn_qkv.weight", "ffn_down.weight")


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the file to be.

    Attributes:
        source: key in the checkpoint.
        name: llama.cpp's name.
        shape: as in the checkpoint, (out, in) for a matrix.
        type: ggml's type.
    """

    source: str
    name: str
    shape: tuple[int, ...]
    type: str

    @property
    def nbytes(self) -> int:
        """Bytes of the data, without the padding behind it."""
        weights, size = BLOCKS[self.type]
        return math.prod(self.shape) // weights * size


def padded(size: int) -> int:
    """Size rounded up to the file's alignment."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def plan_tensors(checkpoint: Checkpoint, file_type: FileType) -> list[TensorPlan]:
    """Names and types of all tensors, in llama.cpp's order: by layer, then by name.

    Raises:
        CheckpointError: a tensor llama.cpp has no name for.
    """
    tied = bool(checkpoint.config.get("tie_word_embeddings", True))
    names = {source: gguf_name(source) for source in checkpoint.tensors if not _is_left_out(source, tied)}
    unknown = sorted(source for source, name in names.items() if name is None)
    if unknown:
        raise CheckpointError(f"{checkpoint.path} holds tensors GGUF has no name for: {', '.join(unknown[:5])}")
    layers = int(checkpoint.config["n_layer"])
    head_is_embedding = "output.weight" not in names.values()
    plans = []
    for source, name in names.items():
        shape = checkpoint.tensors[source].shape
        is_head = name == ("token_embd.weight" if head_is_embedding else "output.weight")
        plans.append(TensorPlan(source, str(name), shape, tensor_type(str(name), shape, file_type, layers, is_head)))
    return sorted(plans, key=lambda plan: (layer_of(plan.name), plan.name))


def gguf_name(source: str) -> str | None:
    """llama.cpp's name of a gpt_bigcode tensor; ``None`` for a stranger."""
    if source == "lm_head.weight":
        return "output.weight"
    module, _, kind = source.removeprefix("transformer.").rpartition(".")
    if module in _WHOLE:
        return f"{_WHOLE[module]}.{kind}"
    match = re.fullmatch(r"h\.(\d+)\.(.+)", module)
    if match and match[2] in _LAYER:
        return f"blk.{match[1]}.{_LAYER[match[2]]}.{kind}"
    return None


def _is_left_out(source: str, tied: bool) -> bool:
    """Masks, and a head that is a copy of the embedding."""
    return source.endswith(_MASKS) or (tied and source == "lm_head.weight")


def layer_of(name: str) -> int:
    """Layer number in a GGUF name; -1 outside the layers."""
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1


def tensor_type(name: str, shape: tuple[int, ...], file_type: FileType, layers: int, is_head: bool) -> str:
    """The ggml type of one tensor in a file of this type."""
    if len(shape) < 2 or name == "position_embd.weight":
        return "F32"
    if file_type.base == "F16":
        return "F16"
    width = shape[-1]
    chosen = file_type.base
    if is_head:
        chosen = "Q6_K" if width % BLOCKS[chosen][0] == 0 and chosen != "Q8_0" else "Q8_0"
    elif file_type.mixed and name.endswith(_SENSITIVE) and use_more_bits(layer_of(name), layers):
        chosen = "Q6_K"
    if width % BLOCKS[chosen][0]:
        chosen = FALLBACKS.get(chosen, "F16")
    return chosen if width % BLOCKS[chosen][0] == 0 else "F16"


def use_more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth of the layers and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
