"""What the torch-side formats share: which tensors they keep, and the config they write.

The facts about architectures themselves are in ``workbench/architecture.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.architecture import MODULES
from workbench.checkpoint import Checkpoint
from workbench.tensors import TensorInfo

# Buffers that old checkpoints carry and every loader makes anew: causal masks and rotary tables.
_BUFFERS = re.compile(r"\.(attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq)$")


def kept_tensors(checkpoint: Checkpoint) -> list[TensorInfo]:
    """The checkpoint's tensors without buffers, by name, layer 2 before layer 10.

    So neither the bytes nor the size of what is made depend on how the checkpoint was cut into files.
    """
    kept = [info for name, info in checkpoint.tensors.items() if not _BUFFERS.search(name)]
    return sorted(kept, key=lambda info: _natural(info.name))


@lru_cache(maxsize=1 << 14)  # a plan sorts the same names for each recipe
def _natural(name: str) -> list[tuple[int, str]]:
    """Parts of a name, numbers as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


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
