"""A transformers model without its weights, made ready to be given them block by block.

Parameters lie on torch's "meta" device, where tensors have shapes but no values; buffers (rotary tables, masks) hold
what the model's own code puts in them. Linear layers multiply by the kernel that is quickest on this processor.

Example::

    model = without_weights(open_checkpoint("sqlcoder-nano"), torch.float32, torch.device("cpu"))
    multiply_fast(model.transformer.h)
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError
from workbench.products import multiply
from workbench.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel


def without_weights(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The model with parameters on the meta device and buffers on a real one.

    Raises:
        CheckpointError: transformers does not understand the config.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with quiet_libraries(), torch.device("meta"):
            config = AutoConfig.from_pretrained(checkpoint.path, local_files_only=True)
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"transformers cannot make a model of {checkpoint.path} ({error})") from error
    for module in model.modules():
        buffers = dict(module.named_buffers(recurse=False))
        for name, buffer in buffers.items():
            setattr(module, name, torch.empty_like(buffer, device=device))
        if buffers:
            model._init_weights(module)  # how transformers itself fills buffers that no file holds
    return model.eval().requires_grad_(False)


def multiply_fast(blocks: Iterable[nn.Module]) -> None:
    """Have linear layers multiply by the kernel that is quickest here, but where gradients are wanted."""
    from torch import nn

    def forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
        if inputs.requires_grad or layer.weight.requires_grad:
            return nn.Linear.forward(layer, inputs)
        return multiply(inputs, layer.weight, layer.bias)

    for block in blocks:
        for layer in block.modules():
            if type(layer) is nn.Linear:
                layer.forward = partial(forward, layer)  # type: ignore[method-assign]


def twin_of(block: nn.Module) -> nn.Module:
    """A copy of a block without its weights."""
    import torch

    empty = {id(one): torch.nn.Parameter(one.to("meta"), requires_grad=False) for one in block.parameters()}
    return deepcopy(block, empty)
