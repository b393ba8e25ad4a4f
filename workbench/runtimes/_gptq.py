"""Load a GPTQ checkpoint into a plain transformers model, its weights dequantized.

Slow machines can so read what was made for CUDA kernels: each packed layer becomes the float matrix
its integers stand for, and the model class is the ordinary one. Packages of other makers are read too where their
layout is the one of ``workbench/kernels/packing.py``, in version 1 or 2: gptqmodel's, and those that AutoGPTQ wrote
(the older of which keep their facts in ``quantize_config.json`` only, or have no ``g_idx``). A layer's bits follow from
its tensors, so packages that mix them are read as well.

Example::

    model = load_dequantized(Path("artifacts/sqlcoder-nano/gptq-4bit"), torch.float32)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import ArtifactError

if TYPE_CHECKING:
    import torch
    from numpy import int32
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from workbench.kernels.packing import PackedLayer

_PARTS = ("qweight", "qzeros", "scales", "g_idx")
_WORD = 32


def load_dequantized(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A plain model with float weights.

    Args:
        folder: GPTQ checkpoint in the AutoGPTQ layout.
        dtype: of the model's weights.

    Raises:
        ArtifactError: another layout, or tensors that do not belong together; the message says which.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = dequantized_state(folder, dtype)
    model: PreTrainedModel = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, attn_implementation="sdpa"
    )
    return model


def dequantized_state(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All weights of a GPTQ checkpoint as floats, by the plain model's names; errors are ``load_dequantized``'s."""
    import torch
    from safetensors import safe_open

    from workbench.kernels.packing import dequantize

    facts = quantization_facts(folder)
    version = _version(folder, facts)
    state: dict[str, torch.Tensor] = {}
    packed: dict[str, dict[str, torch.Tensor]] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                layer, _, part = name.rpartition(".")
                if part in _PARTS:
                    packed.setdefault(layer, {})[part] = file.get_tensor(name)
                else:
                    state[name] = file.get_tensor(name).to(dtype)
    if not packed:
        raise ArtifactError(f"{folder} holds no packed layer in safetensors files; fetch the whole package")
    for layer in list(packed):
        arrays, bits = _layer(f"{folder}: {layer}", packed.pop(layer), int(facts["group_size"]))
        held = version
        if version == 1 and bits != 3:  # codes of 3 bits straddle words: each is taken by itself
            arrays, held = replace(arrays, qzeros=_plus_one(arrays.qzeros, bits)), 2
        state[f"{layer}.weight"] = torch.from_numpy(dequantize(arrays, bits, held)).to(dtype)
    return state


def _plus_one(qzeros: NDArray[int32], bits: int) -> NDArray[int32]:
    """Zeros of version 1 as version 2 stores them: one added to every code of a word at once.

    gptqmodel subtracts so when it writes version 1: a zero of 0 borrows from its neighbour, and only this undoes it.
    """
    import numpy as np

    ones = sum(1 << shift for shift in range(0, _WORD, bits))
    added: NDArray[int32] = (qzeros.view(np.uint32) + np.uint32(ones)).view(np.int32)
    return added


def quantization_facts(folder: Path) -> dict[str, Any]:
    """What a package says of its quantization: in ``config.json``, or in ``quantize_config.json`` as AutoGPTQ did.

    Raises:
        ArtifactError: it says nothing.
    """
    for name, key in (("config.json", "quantization_config"), ("quantize_config.json", None)):
        if (folder / name).is_file():
            document = json.loads((folder / name).read_text(encoding="utf-8"))
            facts: dict[str, Any] = document.get(key) or {} if key else document
            if "bits" in facts:
                return {"group_size": -1, **facts}
    raise ArtifactError(f"{folder} says nothing of its quantization; fetch its config.json or quantize_config.json")


def _version(folder: Path, facts: Mapping[str, Any]) -> int:
    """Of the layout.

    Raises:
        ArtifactError: it is another layout.
    """
    from workbench.kernels.packing import VERSIONS

    method, words = facts.get("quant_method", "gptq"), facts.get("pack_dtype", "int32")
    layout = facts.get("checkpoint_format") or facts.get("format") or "gptq"
    if facts.get("is_marlin_format"):
        layout = "marlin"
    if method != "gptq" or layout not in VERSIONS or words != "int32":
        raise ArtifactError(
            f"{folder} is packed as {method}, {layout}, in {words}; the workbench reads gptq and gptq_v2 in int32: "
            "fetch such a package, or convert the unquantized model"
        )
    return VERSIONS[layout]


def _layer(name: str, parts: Mapping[str, torch.Tensor], group: int) -> tuple[PackedLayer, int]:
    """A stored layer, and its bits: a word holds ``32 / bits`` codes.

    Raises:
        ArtifactError: tensors are missing or do not fit one another.
    """
    import numpy as np

    from workbench.kernels.packing import BITS, PackedLayer

    missing = [part for part in _PARTS[:3] if part not in parts]
    if missing:
        raise ArtifactError(f"{name} lacks {missing[0]}; fetch the package again")
    arrays = {part: tensor.numpy() for part, tensor in parts.items()}
    (words, outputs), groups = arrays["qweight"].shape, len(arrays["scales"])
    bits = arrays["qzeros"].shape[1] * _WORD // outputs
    if "g_idx" not in arrays:  # makers before act order
        inputs = words * _WORD // max(bits, 1)
        arrays["g_idx"] = (np.arange(inputs) // (inputs if group == -1 else group)).astype(np.int32)
    g_idx: NDArray[int32] = arrays["g_idx"]
    fits = bits in BITS and words * _WORD == bits * len(g_idx) and g_idx.min() >= 0 and g_idx.max() < groups
    if not (fits and arrays["scales"].shape == (groups, outputs) and len(arrays["qzeros"]) == groups):
        shapes = ", ".join(f"{part} {tuple(array.shape)}" for part, array in arrays.items())
        raise ArtifactError(f"{name} holds {shapes}, which do not belong together; fetch the package again")
    return PackedLayer(**arrays), bits
