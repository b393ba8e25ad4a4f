"""The pairs of a GGUF file that describe the model: sizes, norms, rotary embedding.

llama.cpp reads them in ``src/models/`` (``load_arch_hparams``); which are written, and in which order, follows its
converter (``conversion/base.py``, ``llama.py``, ``starcoder.py``). Mistral's sliding window is not among them:
llama.cpp's ``llama`` attends to everything, as its converter leaves it.
"""

from __future__ import annotations

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.formats._gguf_header import Value
from workbench.formats._gguf_names import names_of, sizes_of
from workbench.model_config import rope_parameters


def model_pairs(checkpoint: Checkpoint) -> dict[str, Value]:
    """Keys under the architecture's name.

    Raises:
        CheckpointError: the config asks for something llama.cpp does not compute.
    """
    make = _starcoder if checkpoint.architecture == "gpt_bigcode" else _llama
    prefix = names_of(checkpoint).gguf
    return {f"{prefix}.{key}": value for key, value in make(checkpoint).items()}


def _starcoder(checkpoint: Checkpoint) -> dict[str, Value]:
    config, sizes = checkpoint.config, sizes_of(checkpoint)
    if not config.get("multi_query", True):
        raise CheckpointError(
            f"{checkpoint.path} has one key-value head per head; llama.cpp's starcoder wants one in all"
        )
    return {
        "context_length": checkpoint.context_length,
        "embedding_length": sizes.width,
        "feed_forward_length": int(config.get("n_inner") or 4 * sizes.width),
        "block_count": sizes.layers,
        "attention.head_count": sizes.heads,
        "attention.head_count_kv": 1,
        "attention.layer_norm_epsilon": float(config.get("layer_norm_epsilon", 1e-5)),
    }


def _llama(checkpoint: Checkpoint) -> dict[str, Value]:
    config, sizes = checkpoint.config, sizes_of(checkpoint)
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        raise CheckpointError(
            f"{checkpoint.path} has the activation {config['hidden_act']}; llama.cpp's llama has silu"
        )
    pairs: dict[str, Value] = {
        "block_count": sizes.layers,
        "context_length": checkpoint.context_length,
        "embedding_length": sizes.width,
        "feed_forward_length": int(config["intermediate_size"]),
        "attention.head_count": sizes.heads,
        "attention.head_count_kv": sizes.kv_heads,
        **_rope(checkpoint),
        "attention.layer_norm_rms_epsilon": float(config.get("rms_norm_eps", 1e-6)),
    }
    if config.get("head_dim") is not None:
        pairs |= {"attention.key_length": sizes.head, "attention.value_length": sizes.head}
    return {**pairs, "vocab_size": int(config["vocab_size"]), "rope.dimension_count": sizes.head}


def _rope(checkpoint: Checkpoint) -> dict[str, Value]:
    """Scaling and base of the rotary embedding; Llama 3's scaling is a tensor (``_gguf_layout.py``)."""
    rope = rope_parameters(checkpoint.config)
    kind, pairs = rope["rope_type"], dict[str, Value]()
    if kind == "linear":
        pairs = {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    elif kind not in ("default", "llama3"):
        raise CheckpointError(
            f"{checkpoint.path} scales its rotary embedding by {kind!r}, which is not converted to GGUF here; "
            "choose another format"
        )
    if rope.get("rope_theta") is not None:
        pairs["rope.freq_base"] = float(rope["rope_theta"])
    return pairs
