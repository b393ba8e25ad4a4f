"""8-bit integer weights by torchao, in files that plain transformers loads.

Each output row of a linear layer gets one scale, ``max|w| / 127.5``, and its weights become the nearest of 256
integers; activations stay in floating point (W8A16). With a step that small rounding to nearest is as good as
any calibrated method (Dettmers et al. 2022, arXiv 2208.07339, on where 8 bits suffice). Embeddings, norms and the
head stay in float16.

transformers' own ``save_pretrained`` would do the same on the whole model in memory, with file bytes that
change from run to run; here one layer at a time goes through torchao's ``quantize_``.

Example::

    workbench build --model sqlcoder-nano --recipe int8
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.checkpoint import Checkpoint
from workbench.formats._modules import ARCHITECTURES, MODULES, float16_spec, kept_tensors, write_config
from workbench.formats._safetensors import TORCH_NAMES, Spec, Writer, as_float16, total_bytes
from workbench.formats.base import ConversionContext, Format, Options, copy_small_files
from workbench.quiet import quiet_libraries
from workbench.tensors import TensorInfo

if TYPE_CHECKING:
    import torch

# What torchao notes about each tensor in the file's header; ``convert`` writes torchao's own words.
_QUANTIZED_NOTE = (
    '{"_type": "Int8Tensor", "_data": {"act_quant_kwargs": null, "reduce_range": false, "block_size": [1, 0000], '
    '"dtype": {"_type": "torch.dtype", "_data": "float16"}}, "_tensor_data_names": ["zero_point", "qdata", "scale"]}'
)
_PLAIN_NOTE = '{"_type": "Tensor"}'


class Int8Options(Options):
    """Int8 weight-only has nothing to choose."""


class Int8(Format[Int8Options]):
    """torchao Int8WeightOnlyConfig (version 2), symmetric, one scale per output row."""

    name = "int8"
    title = "torchao int8 weight-only"
    options_model = Int8Options
    architectures = ARCHITECTURES
    libraries = ("torch", "torchao", "transformers")
    requires = (("torch", "torch"), ("torchao", "torchao"), ("transformers", "transformers"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: Int8Options) -> int:
        """Tensors exactly; the header to a few bytes per tensor."""
        infos, linears = kept_tensors(checkpoint), _linear_weights(checkpoint)
        notes = {i.name: _QUANTIZED_NOTE if i.name in linears else _PLAIN_NOTE for i in infos}
        specs = [spec for info in infos for spec in _predicted_specs(info, linears)]
        return total_bytes(specs, {"format": "pt", "tensor_names": json.dumps(list(notes)), **notes})

    def convert(
        self, checkpoint: Checkpoint, options: Int8Options, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Quantize layer by layer; see ``Format.convert``."""
        self.check_architecture(checkpoint)
        infos, linears = kept_tensors(checkpoint), _linear_weights(checkpoint)
        with quiet_libraries():
            specs, metadata = _promise(infos, linears)
            with Writer(specs, out, metadata) as writer:
                for done, info in enumerate(infos, start=1):
                    for name, tensor in _flat(info, linears, checkpoint).items():
                        writer.write(name, tensor)
                    context.progress(done, len(infos), "tensors")
            write_config(checkpoint, out, {"quantization_config": _quantization_config()})
        copy_small_files(checkpoint, out)
        return {"quantized_layers": len(linears), "bits": 8}


def _linear_weights(checkpoint: Checkpoint) -> frozenset[str]:
    return frozenset(f"{name}.weight" for name in MODULES[checkpoint.architecture].linears(checkpoint))


def _predicted_specs(info: TensorInfo, linears: frozenset[str]) -> list[Spec]:
    """What torchao will store for a tensor, known without torch."""
    if info.name not in linears:
        return [float16_spec(info)]
    module, rows = info.name.removesuffix(".weight"), (info.shape[0], 1)
    parts = (("qdata", "I8", info.shape), ("scale", "F32", rows), ("zero_point", "I8", rows))
    return [Spec(f"{module}._weight_{part}", dtype, shape) for part, dtype, shape in parts]


def _promise(infos: Sequence[TensorInfo], linears: frozenset[str]) -> tuple[list[Spec], dict[str, str]]:
    """Places of all tensors and torchao's header notes, from a stand-in of one row for each layer."""
    import torch

    specs: list[Spec] = []
    notes: dict[str, str] = {}
    for info in infos:
        if info.name not in linears:
            specs.append(float16_spec(info))
            notes[info.name] = _PLAIN_NOTE
            continue
        flat, metadata = _flatten(info.name, torch.ones(1, info.shape[1], dtype=torch.float16))
        notes[info.name] = metadata[info.name]
        specs += [Spec(name, TORCH_NAMES[str(t.dtype)[6:]], (info.shape[0], *t.shape[1:])) for name, t in flat.items()]
    return specs, {"format": "pt", "tensor_names": json.dumps(list(notes)), **notes}


def _flat(info: TensorInfo, linears: frozenset[str], checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """One tensor as the plain tensors torchao stores for it."""
    tensor = as_float16(info.name, checkpoint.read(info.name))
    return _flatten(info.name, tensor)[0] if info.name in linears else {info.name: tensor}


def _flatten(name: str, weight: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Quantize a weight ``(out, in)``; torchao's parts of it and its header notes."""
    from torch import nn
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    quantize_(layer, Int8WeightOnlyConfig(version=2))
    flat, metadata = flatten_tensor_state_dict({name: layer.weight.detach()})
    return dict(flat), dict(metadata)


def _quantization_config() -> dict[str, Any]:
    """What transformers must find in ``config.json`` to load the files."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    config: dict[str, Any] = TorchAoConfig(Int8WeightOnlyConfig(version=2)).to_dict()
    return config


FORMAT = Int8()
