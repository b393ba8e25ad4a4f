"""The tensors of a checkpoint, told from its config alone: names, shapes and types, before a byte of them is here.

A transformers model is made from its ``config.json``, so the config says which tensors its checkpoint holds. What is
needed is a list per architecture: which module has a matrix or a vector of which sizes, whether with a bias, and how
the sizes follow from the config's numbers (``workbench/shape.py``). Source of the lists: the ``__init__`` methods in
transformers' ``models/*/modeling_*.py``; a tied head is the embedding and is not stored.

Example::

    tensors = config_tensors(read_config(folder / "config.json"), folder)
    sum(info.numel for info in tensors.values())  # 15,517,456,384 for defog/sqlcoder
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.checkpoint_files import CONFIG
from workbench.errors import CheckpointError
from workbench.model_config import is_tied
from workbench.shape import model_shape
from workbench.tensors import TORCH_TYPES, TensorInfo

# safetensors' names of the types in which models are trained and stored, by torch's.
_FLOATS = {TORCH_TYPES[name]: name for name in ("F64", "F32", "F16", "BF16")}
_DEFAULT_TYPE = "float32"  # transformers' where a config names none


@dataclass(frozen=True)
class Weight:
    """One module with a weight.

    Attributes:
        module: its path; of a module inside a block, below the block.
        shape: names of sizes, rows first.
        bias: whether a bias of as many elements as there are rows stands beside it, or the config's key that says so
            (no where the config lacks it).
    """

    module: str
    shape: tuple[str, ...]
    bias: bool | str = False


@dataclass(frozen=True)
class Layout:
    """What a checkpoint of one architecture holds, in the order of computation as transformers lists it.

    Attributes:
        before: modules before the blocks.
        block: path of a block, with a place for its number.
        inside: modules of each block.
        after: modules behind the blocks, without the head.
        excluded: config keys that would add tensors not listed here when true.
    """

    before: tuple[Weight, ...]
    block: str
    inside: tuple[Weight, ...]
    after: tuple[Weight, ...]
    excluded: tuple[str, ...] = ()


def _llama(attention_bias: bool | str, mlp_bias: bool | str) -> Layout:
    """Llama and Mistral, which differ in whether a config can ask for biases."""
    return Layout(
        before=(Weight("model.embed_tokens", ("vocabulary", "hidden")),),
        block="model.layers.{}",
        inside=(
            Weight("self_attn.q_proj", ("queries", "hidden"), attention_bias),
            Weight("self_attn.k_proj", ("keys", "hidden"), attention_bias),
            Weight("self_attn.v_proj", ("keys", "hidden"), attention_bias),
            Weight("self_attn.o_proj", ("hidden", "queries"), attention_bias),
            Weight("mlp.gate_proj", ("inner", "hidden"), mlp_bias),
            Weight("mlp.up_proj", ("inner", "hidden"), mlp_bias),
            Weight("mlp.down_proj", ("hidden", "inner"), mlp_bias),
            Weight("input_layernorm", ("hidden",)),
            Weight("post_attention_layernorm", ("hidden",)),
        ),
        after=(Weight("model.norm", ("hidden",)),),
    )


LAYOUTS: Mapping[str, Layout] = {
    "gpt_bigcode": Layout(
        before=(
            Weight("transformer.wte", ("vocabulary", "hidden")),
            Weight("transformer.wpe", ("positions", "hidden")),
        ),
        block="transformer.h.{}",
        inside=(
            Weight("ln_1", ("hidden",), True),
            Weight("attn.c_attn", ("joined", "hidden"), True),
            Weight("attn.c_proj", ("hidden", "hidden"), True),
            Weight("ln_2", ("hidden",), True),
            Weight("mlp.c_fc", ("inner", "hidden"), True),
            Weight("mlp.c_proj", ("hidden", "inner"), True),
        ),
        after=(Weight("transformer.ln_f", ("hidden",), True),),
        excluded=("add_cross_attention",),
    ),
    "llama": _llama("attention_bias", "mlp_bias"),
    "mistral": _llama(False, False),
}
HEAD = Weight("lm_head", ("vocabulary", "hidden"))


def config_tensors(config: Mapping[str, Any], folder: Path) -> dict[str, TensorInfo]:
    """Tensors of the checkpoint that a config describes, by name, in the order of computation.

    Args:
        config: as ``read_config`` gives it.
        folder: the checkpoint's; its files are not looked at.

    Raises:
        CheckpointError: an architecture that is not known here, a size that makes no sense, or a model that is
            quantized already.
    """
    layout, where = _layout(config, folder), folder / CONFIG
    dtype, sizes = stored_type(config, where), _sizes(config)
    layers = range(model_shape(config).layers)
    weights = [
        *layout.before,
        *(_inside(layout.block.format(number), weight) for number in layers for weight in layout.inside),
        *layout.after,
        *(() if is_tied(config) else (HEAD,)),
    ]
    shapes = (named for weight in weights for named in _named(weight, sizes, config))
    file = folder / "model.safetensors"  # where they would lie
    return {name: TensorInfo(name, dtype, shape, file) for name, shape in shapes}


def stored_type(config: Mapping[str, Any], where: object) -> str:
    """safetensors' name of the type a checkpoint's weights are stored in, by its config.

    Raises:
        CheckpointError: it is not a float type.
    """
    named = config.get("dtype") or config.get("torch_dtype") or _DEFAULT_TYPE
    kind = _FLOATS.get(str(named).removeprefix("torch."))
    if kind is None:
        raise CheckpointError(f"{where} names the type {named!r}; a model's weights are {', '.join(sorted(_FLOATS))}")
    return kind


def _layout(config: Mapping[str, Any], folder: Path) -> Layout:
    """The architecture's list, if the config is one of a float model that the list describes wholly."""
    architecture = config["model_type"]
    if architecture not in LAYOUTS:
        raise CheckpointError(
            f"{folder} holds no weights, and what its config describes, {architecture}, is not known here (known: "
            f"{', '.join(sorted(LAYOUTS))}); give --model one of those or a complete checkpoint"
        )
    if config.get("quantization_config"):
        raise CheckpointError(
            f"{folder / CONFIG} describes a model that is quantized already; give --model the original float checkpoint"
        )
    layout = LAYOUTS[architecture]
    for key in layout.excluded:
        if config.get(key):
            raise CheckpointError(
                f"{folder / CONFIG} has {key}, with tensors that are not known here; give --model a complete checkpoint"
            )
    return layout


def _sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of rows and columns by the names that layouts use."""
    shape = model_shape(config)
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "hidden": shape.hidden,
        "inner": shape.ffn,
        "queries": queries,
        "keys": keys,
        "joined": queries + 2 * keys,
        "vocabulary": shape.vocab,
        "positions": shape.context,
    }


def _inside(block: str, weight: Weight) -> Weight:
    return Weight(f"{block}.{weight.module}", weight.shape, weight.bias)


def _named(
    weight: Weight, sizes: Mapping[str, int], config: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of a module's weight and, where it has one, of its bias."""
    shape = tuple(sizes[name] for name in weight.shape)
    yield f"{weight.module}.weight", shape
    if weight.bias is True or (weight.bias and config.get(weight.bias)):
        yield f"{weight.module}.bias", shape[:1]
