"""What the torch-side formats must know of each architecture, as facts rather than branches.

A decoder is a list of equal blocks; inside a block the linear layers fall into steps, and layers of one step
read the same input. GPTQ's "true sequential" order is the order of the steps: attention in, attention out,
MLP in, MLP out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.tensors import TensorInfo

# Buffers that old checkpoints carry and every loader makes anew: causal masks and rotary tables.
_BUFFERS = re.compile(r"\.(attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq)$")


@dataclass(frozen=True)
class Modules:
    """Where the linear layers of one architecture are.

    Attributes:
        model_class: the class transformers loads, for configs that do not name it.
        blocks: path of the list of blocks.
        layers_key: the config's key for their number.
        steps: linear layers of a block, grouped by shared input, in order of computation.
    """

    model_class: str
    blocks: str
    layers_key: str
    steps: tuple[tuple[str, ...], ...]

    def linears(self, checkpoint: Checkpoint) -> list[str]:
        """Full names of all linear layers inside blocks.

        Raises:
            CheckpointError: the checkpoint lacks one of them.
        """
        names = [
            f"{self.blocks}.{block}.{layer}"
            for block in range(int(checkpoint.config[self.layers_key]))
            for step in self.steps
            for layer in step
        ]
        missing = [name for name in names if f"{name}.weight" not in checkpoint.tensors]
        if missing:
            raise CheckpointError(f"{checkpoint.path} lacks {missing[0]}.weight; give --model a complete checkpoint")
        return names


_LLAMA_STEPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)

MODULES = {
    "gpt_bigcode": Modules(
        "GPTBigCodeForCausalLM",
        "transformer.h",
        "n_layer",
        (("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
    ),
    "llama": Modules("LlamaForCausalLM", "model.layers", "num_hidden_layers", _LLAMA_STEPS),
    "mistral": Modules("MistralForCausalLM", "model.layers", "num_hidden_layers", _LLAMA_STEPS),
}
ARCHITECTURES = frozenset(MODULES)


def kept_tensors(checkpoint: Checkpoint) -> list[TensorInfo]:
    """The checkpoint's tensors in its own order, without buffers."""
    return [info for name, info in checkpoint.tensors.items() if not _BUFFERS.search(name)]


def write_config(
    checkpoint: Checkpoint, out: Path, extra: Mapping[str, Any] | None = None, dtype: str = "float16"
) -> None:
    """``config.json`` of weights in a 16-bit type, with a format's own additions.

    The type stands under ``dtype`` (transformers 5) and ``torch_dtype`` (all older readers).
    """
    config = dict(checkpoint.config)
    config.setdefault("architectures", [MODULES[checkpoint.architecture].model_class])
    config.update({"dtype": dtype, "torch_dtype": dtype, **(extra or {})})
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (out / "config.json").write_text(text + "\n", encoding="utf-8")
