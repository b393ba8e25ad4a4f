"""Names and facts of the architectures that go into GGUF files, as data.

llama.cpp has names of its own for architectures and tensors (gguf-py's ``constants.py`` and ``tensor_mapping.py``).
It calls gpt_bigcode ``starcoder``; llama and mistral are both ``llama``, whose queries and keys are stored in another
order: Hugging Face's rotary embedding turns dimension *i* of a head together with *i + half*, llama.cpp's
turns neighbours, so the two halves of each head's rows are interleaved (``LlamaModel.permute`` in
``conversion/llama.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.shape import model_shape

_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")  # made anew by every loader


@dataclass(frozen=True)
class Names:
    """One architecture.

    Attributes:
        gguf: llama.cpp's name of it.
        prefix: before the names of modules in the checkpoint.
        layer: pattern of a layer's modules, with the number and the rest as groups.
        whole: modules outside the layers.
        parts: modules of a layer.
        tied: whether the head is the embedding where the config does not say.
        keys: the config's keys for ``layers``, ``heads`` and ``width``.
    """

    gguf: str
    prefix: str
    layer: str
    whole: Mapping[str, str]
    parts: Mapping[str, str]
    tied: bool
    keys: Mapping[str, str]


_BIGCODE = Names(
    gguf="starcoder",
    prefix="transformer.",
    layer=r"h\.(\d+)\.(.+)",
    whole={"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"},
    parts={
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    },
    tied=True,
    keys={"layers": "n_layer", "heads": "n_head", "width": "n_embd"},
)
_LLAMA = Names(
    gguf="llama",
    prefix="model.",
    layer=r"layers\.(\d+)\.(.+)",
    whole={"embed_tokens": "token_embd", "norm": "output_norm"},
    parts={
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    },
    tied=False,
    keys={"layers": "num_hidden_layers", "heads": "num_attention_heads", "width": "hidden_size"},
)

NAMES = {"gpt_bigcode": _BIGCODE, "llama": _LLAMA, "mistral": _LLAMA}


@dataclass(frozen=True)
class Sizes:
    """What of a model's shape decides about layout and types.

    Attributes:
        layers: number of layers.
        width: of the residual stream.
        heads: query heads of a layer.
        kv_heads: key-value heads of a layer.
        head: dimensions of a head.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int


def names_of(checkpoint: Checkpoint) -> Names:
    """The architecture's names."""
    return NAMES[checkpoint.architecture]


def sizes_of(checkpoint: Checkpoint) -> Sizes:
    """The model's sizes.

    Raises:
        CheckpointError: the config lacks one of them.
    """
    config, keys = checkpoint.config, names_of(checkpoint).keys
    missing = [key for key in keys.values() if config.get(key) is None]
    if missing:
        raise CheckpointError(f"{checkpoint.path}/config.json names no {missing[0]}; fetch the checkpoint again")
    shape = model_shape(config)
    return Sizes(shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim)


def is_tied(checkpoint: Checkpoint) -> bool:
    """Whether the output head is a copy of the embedding and need not be stored."""
    return bool(checkpoint.config.get("tie_word_embeddings", names_of(checkpoint).tied))


def gguf_names(checkpoint: Checkpoint) -> dict[str, str]:
    """llama.cpp's names of the tensors that go into the file, by their keys in the checkpoint.

    Raises:
        CheckpointError: a tensor llama.cpp has no name for.
    """
    names, tied = names_of(checkpoint), is_tied(checkpoint)
    kept = [key for key in checkpoint.tensors if not (key.endswith(_BUFFERS) or (tied and key == "lm_head.weight"))]
    found = {key: gguf_name(key, names) for key in kept}
    unknown = sorted(key for key, name in found.items() if name is None)
    if unknown:
        raise CheckpointError(f"{checkpoint.path} holds tensors GGUF has no name for: {', '.join(unknown[:5])}")
    return {key: str(name) for key, name in found.items()}


def gguf_name(key: str, names: Names) -> str | None:
    """llama.cpp's name of a tensor; ``None`` for a stranger."""
    module, _, kind = key.rpartition(".")
    if module == "lm_head":
        return f"output.{kind}"
    module = module.removeprefix(names.prefix)
    if module in names.whole:
        return f"{names.whole[module]}.{kind}"
    match = re.fullmatch(names.layer, module)
    return f"blk.{match[1]}.{names.parts[match[2]]}.{kind}" if match and match[2] in names.parts else None
