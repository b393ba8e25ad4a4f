"""Which tensor goes into a GGUF file, in which order, and what is done to its rows on the way.

llama.cpp sorts tensors by layer, then by name (``llama_model_loader::weight_name_comparer``); so do we. Two things
happen to weights beside quantization: the query and key rows of a llama are reordered (``permute_rows``), and Llama 3's
stretched rotary embedding becomes a small tensor of its own, ``rope_freqs.weight``: by how much each
frequency is divided (``generate_extra_tensors`` in llama.cpp's ``conversion/llama.py``).

Nothing here reads a weight: sizes are known from the checkpoint's headers. A tensor can be written chunk by chunk
(any rows; of a permuted one whole heads)::

    for plan in plan_tensors(checkpoint, FILE_TYPES["q4_k_m"]):
        rows = plan.make() if plan.make else plan.reorder(checkpoint.read(plan.source))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._gguf_names import Sizes, gguf_names, names_of, sizes_of
from workbench.formats._gguf_types import BLOCKS, FileType, Mixture, layer_of, tensor_type
from workbench.model_config import rope_parameters

if TYPE_CHECKING:
    import torch

ALIGNMENT = 32
ROPE_FREQS = "rope_freqs.weight"
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
_ROTATED = (".attn_q.weight", ".attn_q.bias", ".attn_k.weight", ".attn_k.bias")


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the file to be.

    Attributes:
        source: key in the checkpoint; ``None`` for one that is generated.
        name: llama.cpp's name.
        shape: as in the checkpoint, (out, in) for a matrix.
        type: ggml's type.
        head_rows: rows of an attention head, whose halves are to be interleaved; 0 where rows stay in place.
        make: makes a generated tensor, float32.
    """

    source: str | None
    name: str
    shape: tuple[int, ...]
    type: str
    head_rows: int = 0
    make: Callable[[], torch.Tensor] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the data, without the padding behind it."""
        weights, size = BLOCKS[self.type]
        return math.prod(self.shape) // weights * size

    def reorder(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of the source in the file's order; of a permuted tensor they must be whole heads, from the first."""
        return permute_rows(rows, self.head_rows) if self.head_rows else rows


def permute_rows(rows: torch.Tensor, head_rows: int) -> torch.Tensor:
    """Interleave the two halves of each head's rows.

    Args:
        rows: whole heads, of a matrix ``[heads * head_rows, in]`` or a bias ``[heads * head_rows]``.
        head_rows: rows of a head.
    """
    halves = rows.reshape(-1, 2, head_rows // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def padded(size: int) -> int:
    """Size rounded up to the file's alignment."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def plan_tensors(checkpoint: Checkpoint, file_type: FileType, imatrix: bool = False) -> list[TensorPlan]:
    """All tensors in the order of the file.

    Args:
        checkpoint: gpt_bigcode, llama or mistral.
        file_type: the mixture.
        imatrix: whether an importance matrix will be given, which changes a few types.

    Raises:
        CheckpointError: a tensor llama.cpp has no name for, or one that is quantized already.
    """
    names, sizes = gguf_names(checkpoint), sizes_of(checkpoint)
    tied = "output.weight" not in names.values()
    is_llama = names_of(checkpoint).gguf == "llama"
    mixture = Mixture(file_type, sizes.layers, sizes.heads, sizes.kv_heads, tied, is_llama, imatrix)
    plans = _generated(checkpoint, sizes)
    for source, name in names.items():
        info = checkpoint.tensors[source]
        if info.dtype not in _FLOATS:
            raise CheckpointError(
                f"tensor {source} is {info.dtype}: {checkpoint.path} seems to be quantized already; "
                "give --model the original float checkpoint"
            )
        head_rows = sizes.head if is_llama and name.endswith(_ROTATED) else 0
        plans.append(TensorPlan(source, name, info.shape, tensor_type(name, info.shape, mixture), head_rows))
    return sorted(plans, key=lambda plan: (layer_of(plan.name), plan.name))


def _generated(checkpoint: Checkpoint, sizes: Sizes) -> list[TensorPlan]:
    """Tensors that the checkpoint does not hold."""
    rope = rope_parameters(checkpoint.config)
    if rope["rope_type"] != "llama3":
        return []
    trained = int(checkpoint.config.get("original_max_position_embeddings", 8192))
    make = partial(llama3_factors, rope, sizes.head, trained)
    return [TensorPlan(None, ROPE_FREQS, (sizes.head // 2,), "F32", make=make)]


def llama3_factors(rope: dict[str, float], head: int, trained_context: int = 8192) -> torch.Tensor:
    """What Llama 3.1 and later divide each rotary frequency by.

    Waves much longer than the context the model was first trained for are stretched by ``factor``, short ones are left
    alone, between the two it is blended (transformers' ``modeling_rope_utils.py``, ``rope_type: llama3``).

    Args:
        rope: the config's ``rope_parameters``.
        head: dimensions of a head.
        trained_context: where ``rope`` does not name ``original_max_position_embeddings``.

    Returns:
        float32, one per pair of dimensions.
    """
    import torch

    base, factor = rope.get("rope_theta", 10000.0), rope.get("factor", 8.0)
    low, high = rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0)
    context = rope.get("original_max_position_embeddings", trained_context)
    # float32 as in llama.cpp's converter: the same bits.
    frequencies = 1.0 / (base ** (torch.arange(0, head, 2, dtype=torch.float32) / head))
    factors = []
    for frequency in frequencies:
        wave = 2 * math.pi / frequency
        if wave < context / high:
            factors.append(1.0)
        elif wave > context / low:
            factors.append(float(factor))
        else:
            smooth = (context / wave - low) / (high - low)
            factors.append(float(1 / ((1 - smooth) / factor + smooth)))
    return torch.tensor(factors, dtype=torch.float32)
