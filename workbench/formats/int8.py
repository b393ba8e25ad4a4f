"""8-bit integer weights by torchao, in files that plain transformers loads.

Each output row of a linear layer gets one scale, ``max|w| / 127.5``, and its weights become the nearest of 256
integers; activations stay in floating point (W8A16). With a step that small rounding to nearest is as good as
any calibrated method (Dettmers et al. 2022, arXiv 2208.07339, on where 8 bits suffice). Embeddings, norms and the
head stay in float16.

transformers' own ``save_pretrained`` would do the same on the whole model in memory, with file bytes that
change from run to run; here a few rows at a time become the same values (``workbench/kernels/int8_rows.py``), and
torchao itself writes only what the header and ``config.json`` say of them.

Example::

    workbench build --model sqlcoder-nano --recipe int8
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.architecture import ARCHITECTURES, MODULES
from workbench.checkpoint import Checkpoint
from workbench.formats._draft import Draft, written
from workbench.formats._floats import cast, float_group
from workbench.formats._modules import kept_tensors, write_config
from workbench.formats._safetensors import Group, Spec, quantized_group, safetensors_files, total_bytes, write_index
from workbench.formats.base import BuildWork, ConversionContext, Format, Options, copy_small_files, streamed_work
from workbench.quiet import quiet_libraries
from workbench.tensors import TensorInfo

# What torchao notes about each tensor in the file's header, with a place for the number of columns; known here for a
# plan, which does not load torchao. ``convert`` writes torchao's own words.
_QUANTIZED_NOTE = (
    '{{"_type": "Int8Tensor", "_data": {{"act_quant_kwargs": null, "reduce_range": false, "block_size": [1, {}], '
    '"dtype": {{"_type": "torch.dtype", "_data": "float16"}}}}, '
    '"_tensor_data_names": ["zero_point", "qdata", "scale"]}}'
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
    engines = ("transformers", "transformers_in_python", "vllm")
    requires = (("torch", "torch"), ("torchao", "torchao"), ("transformers", "transformers"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: Int8Options) -> int:
        """Exact: tensors and headers."""
        infos, linears = kept_tensors(checkpoint), _linear_weights(checkpoint)
        notes = {i.name: _QUANTIZED_NOTE.format(i.shape[1]) if i.name in linears else _PLAIN_NOTE for i in infos}
        return total_bytes(safetensors_files(_groups(checkpoint), _metadata(notes)))

    def build_work(self, checkpoint: Checkpoint, options: Int8Options, threads: int) -> BuildWork:
        """15.5 billion weights took two cores 63.7 s (README)."""
        return streamed_work(checkpoint, 1.22e8, 530 << 20, threads)

    def tolerance(self, options: Int8Options) -> float:
        """256 steps per row."""
        return 0.05

    def convert(
        self, checkpoint: Checkpoint, options: Int8Options, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Quantize a few rows at a time; see ``Format.convert``."""
        return written(self.draft(checkpoint, options, context), out, checkpoint, context)

    def draft(self, checkpoint: Checkpoint, options: Int8Options, context: ConversionContext) -> Draft:
        """A part for each tensor or quantized layer; see ``Format.draft``."""
        self.check_architecture(checkpoint)
        groups = _groups(checkpoint)
        with quiet_libraries():
            files = safetensors_files(groups, _metadata(_notes(checkpoint)))

        def finish(out: Path) -> dict[str, Any]:
            with quiet_libraries():
                write_config(checkpoint, out, {"quantization_config": _quantization_config()})
            write_index(out, groups, files)
            copy_small_files(checkpoint, out)
            return {"quantized_layers": len(_linear_weights(checkpoint)), "bits": 8}

        return Draft(tuple(files), finish)


def _linear_weights(checkpoint: Checkpoint) -> frozenset[str]:
    return frozenset(f"{name}.weight" for name in MODULES[checkpoint.architecture].linears(checkpoint))


def _groups(checkpoint: Checkpoint) -> list[Group]:
    linears = _linear_weights(checkpoint)
    return [
        _quantized_group(checkpoint, info) if info.name in linears else float_group(checkpoint, info)
        for info in kept_tensors(checkpoint)
    ]


def _quantized_group(checkpoint: Checkpoint, info: TensorInfo) -> Group:
    """A layer's integers, then the scales of its rows, then their zero points; rows are independent."""
    module, rows = info.name.removesuffix(".weight"), (info.shape[0], 1)
    parts = (("qdata", "I8", info.shape), ("scale", "F32", rows), ("zero_point", "I8", rows))
    specs = tuple(Spec(f"{module}._weight_{part}", dtype, shape) for part, dtype, shape in parts)
    return quantized_group(specs, info, lambda place: _quantize(checkpoint, info.name, place))


def _quantize(checkpoint: Checkpoint, name: str, place: int) -> tuple[Any, Any, Any]:
    """One chunk's codes, scales and zero points."""
    import torch

    from workbench.kernels.int8_rows import quantize

    return quantize(cast(name, checkpoint.read_chunk(name, place), torch.float16).numpy())


def _metadata(notes: Mapping[str, str]) -> dict[str, str]:
    return {"format": "pt", "tensor_names": json.dumps(list(notes)), **notes}


def _notes(checkpoint: Checkpoint) -> dict[str, str]:
    """torchao's header note of each tensor, in its own words."""
    linears = _linear_weights(checkpoint)
    return {i.name: _note(i.name, i.shape[1]) if i.name in linears else _PLAIN_NOTE for i in kept_tensors(checkpoint)}


def _note(name: str, width: int) -> str:
    """torchao's note of a weight ``(out, width)``; one row stands in for all, which it does not count."""
    import torch
    from torch import nn
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    layer = nn.Linear(width, 1, bias=False, device="meta")
    layer.weight = nn.Parameter(torch.ones(1, width, dtype=torch.float16), requires_grad=False)
    quantize_(layer, Int8WeightOnlyConfig(version=2))
    _, notes = flatten_tensor_state_dict({name: layer.weight.detach()})
    note: str = notes[name]
    return note


def _quantization_config() -> dict[str, Any]:
    """What transformers must find in ``config.json`` to load the files."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    config: dict[str, Any] = TorchAoConfig(Int8WeightOnlyConfig(version=2)).to_dict()
    return config


FORMAT = Int8()
