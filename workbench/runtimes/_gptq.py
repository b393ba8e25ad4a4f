"""Load a GPTQ checkpoint into a plain transformers model, its weights dequantized.

Slow machines can so read what was made for CUDA kernels: each packed layer becomes the float matrix
its integers stand for, and the model class is the ordinary one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_PARTS = ("qweight", "qzeros", "scales", "g_idx")


def load_dequantized(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A plain model with float weights.

    Args:
        folder: GPTQ checkpoint in the AutoGPTQ layout.
        dtype: of the model's weights.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    bits = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]["bits"]
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = dequantized_state(folder, bits, dtype)
    model: PreTrainedModel = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, attn_implementation="sdpa"
    )
    return model


def dequantized_state(folder: Path, bits: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All weights of a GPTQ checkpoint as floats, under the names of the plain model."""
    import torch
    from safetensors import safe_open

    from workbench.kernels.packing import PackedLayer, dequantize

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
    for layer, parts in packed.items():
        arrays = PackedLayer(**{part: parts[part].numpy() for part in _PARTS})
        state[f"{layer}.weight"] = torch.from_numpy(dequantize(arrays, bits)).to(dtype)
    return state
