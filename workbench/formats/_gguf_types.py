"""Which of ggml's types each tensor of a GGUF file gets.

A ggml type stores a row in blocks: Q8_0 is 32 signed bytes and one half-precision scale (34 bytes);
the K-quants are super-blocks of 256 weights whose 8 or 16 small scales are themselves quantized
(Q4_K: 144 bytes, 4.5 bits a weight). A *file* type such as Q4_K_M is a mixture: 4 bits for most, more
for what hurts most when rounded: the embedding that is also the output head, the matrices that make the values
(``attn_v``, or ``attn_qkv`` where the three are one), those that close the MLP (``ffn_down``), some only in the
first and last layers. Where several query heads share a value head, that matrix is small and more bits cost little.

The rules are those of llama.cpp's ``src/llama-quant.cpp`` (``llama_tensor_get_type_impl``, ``use_more_bits``,
``tensor_type_fallback``), so that a file made here equals one made by ``llama-quantize``. One-dimensional tensors
and position embeddings stay float32. Block sizes: ``ggml/src/ggml-common.h``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# Weights and bytes of one block.
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}

# enum ggml_type (ggml.h).
TYPE_NUMBERS = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12,
    "Q5_K": 13, "Q6_K": 14, "BF16": 30,
}  # fmt: skip

# What replaces a type whose block of 256 does not divide the row; F16 where the replacement does not either.
FALLBACKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # with torch's names


@dataclass(frozen=True)
class FileType:
    """A mixture of tensor types.

    Attributes:
        name: as in ``llama-quantize``, in small letters.
        number: llama.cpp's ``llama_ftype``, written into the file.
        base: type of most matrices.
    """

    name: str
    number: int
    base: str


FILE_TYPES = {
    kind.name: kind
    for kind in (
        FileType("f16", 1, "F16"),
        FileType("bf16", 32, "BF16"),
        FileType("q8_0", 7, "Q8_0"),
        FileType("q6_k", 18, "Q6_K"),
        FileType("q5_k_m", 17, "Q5_K"),
        FileType("q5_k_s", 16, "Q5_K"),
        FileType("q4_k_m", 15, "Q4_K"),
        FileType("q4_k_s", 14, "Q4_K"),
        FileType("q4_0", 2, "Q4_0"),
        FileType("q3_k_m", 12, "Q3_K"),
        FileType("q2_k", 10, "Q2_K"),
    )
}


@dataclass(frozen=True)
class Mixture:
    """What the choice of types depends on beside the file type.

    Attributes:
        file_type: of the file.
        layers: number of layers.
        heads: query heads of a layer.
        kv_heads: key-value heads of a layer.
        tied: whether the embedding is the output head too.
        llama: whether llama.cpp knows the architecture as ``llama``.
        imatrix: whether an importance matrix is given.
    """

    file_type: FileType
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    llama: bool = False
    imatrix: bool = False

    @property
    def is_70b(self) -> bool:
        """llama.cpp's name for a llama of 80 layers with grouped queries, whose small value matrices get more."""
        return self.llama and self.layers == 80 and self.heads != self.kv_heads


def tensor_type(name: str, shape: tuple[int, ...], mixture: Mixture) -> str:
    """The ggml type of one tensor.

    Args:
        name: llama.cpp's name, such as ``blk.3.ffn_down.weight``.
        shape: rows last, as in the checkpoint.
        mixture: the file.
    """
    if len(shape) < 2 or name == "position_embd.weight":
        return "F32"
    base, width = mixture.file_type.base, shape[-1]
    if base in PLAIN:
        return base
    return _fitting(_wanted(name, width, mixture), width)


def _fitting(kind: str, width: int) -> str:
    """The type, or what stands in for it when its block does not divide the row."""
    if width % BLOCKS[kind][0]:
        kind = FALLBACKS.get(kind, "F16")
    return kind if width % BLOCKS[kind][0] == 0 else "F16"


def _wanted(name: str, width: int, mixture: Mixture) -> str:
    """What the mixture gives a matrix, whether or not it fits."""
    base = mixture.file_type.base
    if name == ("token_embd.weight" if mixture.tied else "output.weight"):
        return "Q8_0" if width % BLOCKS[base][0] or base == "Q8_0" else "Q6_K"
    layer = layer_of(name)
    if name.endswith((".attn_v.weight", ".attn_qkv.weight")):
        return _value_type(layer, mixture)
    if name.endswith(".ffn_down.weight"):
        return _down_type(layer, mixture)
    if name.endswith(".attn_output.weight"):
        return {"q2_k": "Q3_K", "q3_k_m": "Q4_K"}.get(mixture.file_type.name, base)
    return base


def _value_type(layer: int, mixture: Mixture) -> str:
    """For the matrix that makes the values."""
    kind = mixture.file_type.base
    match mixture.file_type.name:
        case "q2_k":
            kind = "Q4_K" if mixture.heads // mixture.kv_heads >= 4 else "Q3_K"
        case "q3_k_m":
            kind = "Q5_K" if layer < 2 else "Q4_K"
        case "q4_k_s":
            kind = "Q5_K" if layer < 4 else kind
        case "q4_k_m" | "q5_k_m":
            kind = "Q6_K" if use_more_bits(layer, mixture.layers) else kind
    return "Q5_K" if mixture.is_70b and kind in ("Q3_K", "Q4_K") else kind


def _down_type(layer: int, mixture: Mixture) -> str:
    """For the matrix that closes the MLP."""
    kind, layers = mixture.file_type.base, mixture.layers
    match mixture.file_type.name:
        case "q2_k":
            return "Q3_K"
        case "q3_k_m":
            return "Q5_K" if layer < layers // 16 else "Q4_K"
        case "q4_k_s":
            return "Q5_K" if layer < layers // 8 else kind
        case "q4_0":
            return "Q4_1" if mixture.imatrix and layer < layers // 8 else kind
        case "q4_k_m" | "q5_k_m":
            return "Q6_K" if use_more_bits(layer, layers) else kind
    return kind


def use_more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth of the layers and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


@lru_cache(maxsize=1 << 12)  # a plan asks for the same tensors for each file type
def layer_of(name: str) -> int:
    """Layer number in a GGUF name; -1 outside the layers."""
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1
