"""Loading a model into transformers: on which device, in which precision, and what a reader must know of that.

On a CPU float16 is computed in float32, because CPUs of the last decade have no fast half-precision products. GPTQ has
fast kernels on CUDA only (through gptqmodel); elsewhere its weights are dequantized when loaded: the answers are those
of the artifact, speed and memory are not, and a note says so.

    check_device("cuda")
    model, notes, representative = load_model(artifact, "cuda")
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from workbench.artifact import Artifact
from workbench.errors import PrerequisiteError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FLOAT32_NOTE = "float16 is computed in float32 on this device: twice the memory of the weights on disk"
_INT8_NOTE = "activations and unquantized weights are float32 on this device"
_DEQUANTIZED_NOTE = (
    "GPTQ kernels need CUDA and gptqmodel; here the weights were dequantized to {dtype} when loaded, "
    "so answers are the artifact's own but speed and memory are not"
)
_GPTQMODEL_NOTE = "run by gptqmodel's kernels"


def check_device(device: str) -> None:
    """See that torch has the device.

    Raises:
        PrerequisiteError: it has not; the message says what to install.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise PrerequisiteError(
            "torch sees no CUDA device; check the driver with nvidia-smi and, where this torch is a CPU build, install "
            "the one that PyTorch's Get started page names, or build for --profile cpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise PrerequisiteError("torch sees no Metal device here; run on the CPU")


def load_model(artifact: Artifact, device: str) -> tuple[PreTrainedModel, tuple[str, ...], bool]:
    """The model on its device, notes, and whether speed and memory are representative."""
    import torch

    dtype = torch.float32 if device == "cpu" else torch.float16
    if artifact.manifest.format == "gptq":
        if device == "cuda" and find_spec("gptqmodel"):
            return _load_gptqmodel(artifact), (_GPTQMODEL_NOTE,), True
        from workbench.runtimes._gptq import load_dequantized

        note = _DEQUANTIZED_NOTE.format(dtype=str(dtype).removeprefix("torch."))
        return load_dequantized(artifact.path, dtype).to(device), (note,), False
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        artifact.path, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, local_files_only=True
    )
    note = _INT8_NOTE if artifact.manifest.format == "int8" else _FLOAT32_NOTE
    return model.to(device), (note,) if dtype == torch.float32 else (), True


def _load_gptqmodel(artifact: Artifact) -> PreTrainedModel:
    """Through gptqmodel itself: transformers' route needs optimum too and fails on gpt_bigcode."""
    gptqmodel = import_module("gptqmodel")  # an optional package with its own environment needs
    model: PreTrainedModel = gptqmodel.GPTQModel.load(
        str(artifact.path), device="cuda:0", attn_implementation="sdpa"
    ).model
    return model
