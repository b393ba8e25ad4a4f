"""Tensors that stay floating-point numbers: cast to 16 bits chunk by chunk, and checked.

A checkpoint with a NaN is damaged, and a value beyond float16's range would silently become infinite; either would
only show as nonsense answers, so both are refused here, where the tensor's name is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError, WorkbenchError
from workbench.formats._safetensors import TORCH_NAMES, Group, Spec
from workbench.tensors import TensorInfo

if TYPE_CHECKING:
    import torch

    from workbench.formats._output import Piece

FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80}
_MAXIMA = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38}


def float_spec(info: TensorInfo, dtype: str = "float16") -> Spec:
    """The place of a tensor cast to a float type (torch's name).

    Raises:
        CheckpointError: it is not a floating-point tensor (the checkpoint is quantized already).
    """
    if info.dtype not in FLOATS:
        raise CheckpointError(
            f"tensor {info.name} is {info.dtype}: {info.file.parent} seems to be quantized already; "
            "give --model the original float checkpoint"
        )
    return Spec(info.name, TORCH_NAMES[dtype], info.shape)


def float_group(checkpoint: Checkpoint, info: TensorInfo, dtype: str = "float16") -> Group:
    """A tensor cast to a float type, to be written chunk by chunk."""
    spec = float_spec(info, dtype)
    return Group((spec,), partial(_pieces, checkpoint, info, dtype), sources=(info.name,))


def _pieces(checkpoint: Checkpoint, info: TensorInfo, dtype: str) -> Iterable[Piece]:
    return (partial(_piece, checkpoint, info.name, place, dtype) for place in range(len(info.chunks)))


def _piece(checkpoint: Checkpoint, name: str, place: int, dtype: str) -> Any:
    import torch

    return raw(cast(name, checkpoint.read_chunk(name, place), getattr(torch, dtype)))


def cast(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A floating-point tensor in another type, its values finite.

    Raises:
        CheckpointError: it holds a NaN or an infinity.
        WorkbenchError: a value is beyond the type's range.
    """
    import torch

    narrow = tensor.to(dtype)
    if finite(narrow):
        return narrow
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"tensor {name} holds NaN or infinity: the checkpoint is damaged; fetch it again")
    kind = str(dtype).removeprefix("torch.")
    raise WorkbenchError(
        f"tensor {name} holds {float(tensor.abs().max()):.4g}, beyond {kind}'s {_MAXIMA[kind]:.5g}, and clipping would "
        "change the model; choose the bf16 recipe, or a GGUF recipe of 8 bits or fewer, whose scales reach farther"
    )


def finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite: their exponents are all ones, which integers tell soonest."""
    import torch

    exponent = _EXPONENTS.get(str(tensor.dtype).removeprefix("torch."))
    if exponent is None:
        return bool(torch.isfinite(tensor).all())
    if not tensor.numel():
        return True
    bits = tensor.contiguous().view(torch.int16).numpy()
    return int((bits & exponent).max()) != exponent  # numpy: twenty times as fast as torch's comparison here


def raw(tensor: torch.Tensor) -> Any:
    """A tensor's values as a flat numpy array of bytes, without a copy where they lie in a row."""
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
