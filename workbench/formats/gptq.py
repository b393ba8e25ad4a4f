"""GPTQ: 3- or 4-bit weights fitted to text-to-SQL prompts, in the layout vLLM, TGI and gptqmodel read.

Rounding a weight changes the layer's output; GPTQ lets the weights not yet rounded make up for it, led by
the inputs the layer gets on calibration texts (Frantar et al. 2022, arXiv 2210.17323; the solver is
``workbench/kernels/gptq.py``, the packing ``workbench/kernels/packing.py``). Blocks are done in order and, inside
a block, attention in, attention out, MLP in, MLP out, each with inputs computed by what is already quantized.
Embeddings, norms, biases and the head stay float16.

The model is held whole in float32 while it is calibrated: about twice the bytes of its float16 checkpoint.

Example::

    workbench build --model sqlcoder-nano --recipe gptq-4bit
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from workbench.architecture import ARCHITECTURES, MODULES, Modules
from workbench.artifact import sha256_json
from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError, WorkbenchError
from workbench.formats._floats import float_group
from workbench.formats._modules import kept_tensors, write_config
from workbench.formats._output import Output
from workbench.formats._safetensors import Group, Spec, safetensors_files, total_bytes, write_index
from workbench.formats.base import ConversionContext, Format, Options, copy_small_files
from workbench.quiet import quiet_libraries
from workbench.tensors import TensorInfo

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from workbench.formats._blocks import Batch
    from workbench.kernels.gptq import GptqResult, GptqSettings

_WORD = 32
_GROUPS = (128, 64, 32)


class GptqOptions(Options):
    """How to quantize.

    Attributes:
        bits: bits of a weight.
        group_size: inputs that share a scale (-1: a whole row); the widest smaller one that fits every layer is used.
        symmetric: zero in the middle of the codes; Marlin and most servers want it.
        desc_act: quantize the inputs with the largest activations first: a little better, slower on some kernels.
        damp: share of the mean activation energy added to the diagonal for stability.
        calibration_samples: texts to calibrate on.
        calibration_tokens: most tokens of one text.
    """

    bits: Literal[2, 3, 4, 8] = 4
    group_size: Literal[-1, 32, 64, 128] = 128
    symmetric: bool = True
    desc_act: bool = False
    damp: float = Field(default=0.01, ge=0, le=1)
    calibration_samples: int = Field(default=128, ge=1)
    calibration_tokens: int = Field(default=1024, ge=8)


@dataclass
class _Record:
    """What happened to each layer."""

    errors: dict[str, float] = field(default_factory=dict)
    damps: set[float] = field(default_factory=set)


class Gptq(Format[GptqOptions]):
    """Sequential GPTQ, written as AutoGPTQ version 1."""

    name = "gptq"
    title = "GPTQ"
    options_model = GptqOptions
    architectures = ARCHITECTURES
    libraries = ("torch", "transformers", "numba", "numpy")
    needs_calibration = True
    requires = (("torch", "torch"), ("transformers", "transformers"), ("numba", "numba"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: GptqOptions) -> int:
        """Exact: tensors and headers."""
        self.check_architecture(checkpoint)
        return total_bytes(safetensors_files(_groups(checkpoint, options)))

    def convert(
        self, checkpoint: Checkpoint, options: GptqOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Calibrate and quantize; see ``Format.convert``."""
        self.check_architecture(checkpoint)
        if not context.calibration:
            raise WorkbenchError("gptq needs calibration texts and got none; give it questions with their SQL")
        group = group_size(checkpoint, options)
        modules = MODULES[checkpoint.architecture]
        groups = _groups(checkpoint, options)
        files = safetensors_files(groups)
        with Output(files, out, checkpoint, context) as output, quiet_libraries():
            output.write_all()  # what is not quantized
            model, sequences = _load(checkpoint, options, context.calibration)
            record = _quantize_blocks(model, modules, sequences, (options, group), output, context)
        write_index(out, groups, files)
        config = quantization_config(options, group)
        write_config(checkpoint, out, {"quantization_config": config})
        (out / "quantize_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        copy_small_files(checkpoint, out)
        return {
            "bits": options.bits,
            "group_size": group,
            "group_size_wanted": options.group_size,
            "damp": max(record.damps),
            "relative_errors": record.errors,
            "calibration": {
                "texts": len(sequences),
                "tokens": sum(map(len, sequences)),
                "sha256": sha256_json(sequences),
            },
        }


def group_size(checkpoint: Checkpoint, options: GptqOptions) -> int:
    """The wanted group size, or the widest smaller one that divides the inputs of every layer.

    Raises:
        CheckpointError: sizes that no GPTQ kernel reads.
    """
    shapes = [
        checkpoint.tensors[f"{name}.weight"].shape for name in MODULES[checkpoint.architecture].linears(checkpoint)
    ]
    for outputs, inputs in shapes:
        if outputs % _WORD or inputs % _WORD:
            raise CheckpointError(
                f"a layer of {outputs} x {inputs} cannot be packed as GPTQ, whose sizes are multiples of {_WORD}; "
                "choose another format"
            )
    if options.group_size == -1:
        return -1
    fitting = (g for g in _GROUPS if g <= options.group_size and all(inputs % g == 0 for _, inputs in shapes))
    return next(fitting)  # 32 always fits, by the check above


def quantization_config(options: GptqOptions, group: int) -> dict[str, Any]:
    """What readers of the layout must know."""
    return {
        "quant_method": "gptq",
        "checkpoint_format": "gptq",
        "bits": options.bits,
        "group_size": group,
        "sym": options.symmetric,
        "desc_act": options.desc_act,
        "damp_percent": options.damp,
        "true_sequential": True,
        "static_groups": False,
        "lm_head": False,
        "pack_dtype": "int32",
    }


def _groups(checkpoint: Checkpoint, options: GptqOptions) -> list[Group]:
    """Every tensor of the result: what is not quantized, then the quantized layers in the order they are made."""
    group = group_size(checkpoint, options)
    linears = MODULES[checkpoint.architecture].linears(checkpoint)
    packed = [_packed_group(layer, checkpoint.tensors[f"{layer}.weight"], options.bits, group) for layer in linears]
    quantized = {f"{layer}.weight" for layer in linears}
    others = [float_group(checkpoint, info) for info in kept_tensors(checkpoint) if info.name not in quantized]
    return others + packed


def _packed_group(layer: str, info: TensorInfo, bits: int, group: int) -> Group:
    outputs, inputs = info.shape
    groups = 1 if group == -1 else inputs // group
    specs = (
        Spec(f"{layer}.qweight", "I32", (inputs * bits // _WORD, outputs)),
        Spec(f"{layer}.qzeros", "I32", (groups, outputs * bits // _WORD)),
        Spec(f"{layer}.scales", "F16", (groups, outputs)),
        Spec(f"{layer}.g_idx", "I32", (inputs,)),
    )
    return Group(specs, sources=(info.name,))


def _load(
    checkpoint: Checkpoint, options: GptqOptions, texts: Sequence[str]
) -> tuple[PreTrainedModel, list[list[int]]]:
    """The model in float32 and the calibration texts as token ids."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.formats._blocks import tokenize

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint.path,
            dtype=torch.float32,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(f"transformers cannot load {checkpoint.path} ({error})") from error
    most_tokens = min(options.calibration_tokens, checkpoint.context_length)
    return model.eval(), tokenize(tokenizer, texts, options.calibration_samples, most_tokens)


def _quantize_blocks(
    model: PreTrainedModel,
    modules: Modules,
    sequences: Sequence[list[int]],
    how: tuple[GptqOptions, int],
    output: Output,
    context: ConversionContext,
) -> _Record:
    """All blocks in order; each one's inputs come from the quantized ones before it."""
    import torch

    from workbench.formats._blocks import advance, first_batches
    from workbench.kernels.gptq import GptqSettings

    options, group = how
    settings = GptqSettings(options.bits, group, options.symmetric, options.desc_act, options.damp)
    record = _Record()
    blocks = list(model.get_submodule(modules.blocks))
    with torch.no_grad():
        batches = first_batches(model, blocks[0], sequences)
        for place, block in enumerate(blocks):
            prefix = f"{modules.blocks}.{place}"
            for step in modules.steps:
                _quantize_step(block, {f"{prefix}.{name}": name for name in step}, batches, settings, (output, record))
            for batch in batches:
                advance(block, batch)
            context.progress(place + 1, len(blocks), "blocks")
    return record


def _quantize_step(
    block: nn.Module,
    layers: dict[str, str],
    batches: Sequence[Batch],
    settings: GptqSettings,
    results: tuple[Output, _Record],
) -> None:
    """Layers that read the same input (full name: name in the block), from one Hessian."""
    import torch

    from workbench.formats._blocks import layer_inputs
    from workbench.kernels.gptq import add_inputs, new_hessian, quantize

    output, record = results
    first = block.get_submodule(next(iter(layers.values())))
    hessian: torch.Tensor | None = None
    for batch in batches:
        inputs = layer_inputs(block, first, batch)
        hessian = new_hessian(inputs.shape[1]) if hessian is None else hessian
        add_inputs(hessian, inputs)
    assert hessian is not None  # there is at least one calibration text
    for full_name, name in layers.items():
        weight = block.get_parameter(f"{name}.weight")
        result = quantize(weight, hessian, settings)
        weight.copy_(torch.from_numpy(result.weight))
        _write_layer(full_name, result, settings.bits, output)
        record.errors[full_name] = round(result.relative_error, 6)
        record.damps.add(result.damp)


def _write_layer(name: str, result: GptqResult, bits: int, output: Output) -> None:
    """Pack a layer and write its four tensors."""
    from workbench.kernels.packing import pack

    packed = pack(result.codes, result.scales, result.zeros, result.g_idx, bits)
    output.put(f"{name}.qweight", [packed.qweight, packed.qzeros, packed.scales, packed.g_idx])


FORMAT = Gptq()
