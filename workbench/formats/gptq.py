"""GPTQ: weights of 2, 3, 4 or 8 bits fitted to text-to-SQL prompts, in the layout vLLM, TGI and gptqmodel read.

Rounding a weight changes the layer's output; GPTQ lets the weights not yet rounded make up for it, led by
the inputs the layer gets on calibration texts (Frantar et al. 2022, arXiv 2210.17323; the solver is
``workbench/kernels/gptq.py``, the packing ``workbench/kernels/packing.py``). Blocks are done in order and, inside
a block, attention in, attention out, MLP in, MLP out, each with inputs computed by what is already quantized.
Embeddings, norms, biases and the head stay float16.

One block's weights are in memory at a time, and a killed conversion goes on at the layer where it stopped
(``workbench/formats/_gptq_blocks.py``). The bytes do not depend on the number of threads. Which servers' kernels
take the result is told by ``workbench/formats/_gptq_kernels.py``.

Example::

    workbench build --model sqlcoder-nano --recipe gptq-4bit
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from workbench.architecture import ARCHITECTURES, MODULES
from workbench.artifact import sha256_json
from workbench.batches import STATE_BYTES, tokenize
from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError, WorkbenchError
from workbench.formats._build_work import gptq_work
from workbench.formats._floats import float_group, float_spec
from workbench.formats._gptq_blocks import Calibration, Quantizer, stored_tensors
from workbench.formats._gptq_kernels import kernel_limits
from workbench.formats._modules import kept_tensors, write_config
from workbench.formats._output import Output
from workbench.formats._safetensors import Group, Spec, safetensors_files, total_bytes, write_index
from workbench.formats.base import BuildWork, ConversionContext, Format, Options, copy_small_files
from workbench.quiet import quiet_libraries
from workbench.shape import model_shape
from workbench.tensors import TensorInfo

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


class Gptq(Format[GptqOptions]):
    """Sequential GPTQ, written as AutoGPTQ version 1."""

    name = "gptq"
    title = "GPTQ"
    options_model = GptqOptions
    architectures = ARCHITECTURES
    libraries = ("torch", "transformers", "numba", "numpy")
    requires = (("torch", "torch"), ("transformers", "transformers"), ("numba", "numba"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: GptqOptions) -> int:
        """Exact: tensors and headers."""
        self.check_architecture(checkpoint)
        return total_bytes(safetensors_files(_groups(checkpoint, options)))

    def wants_calibration(self, options: GptqOptions) -> bool:
        """Always: the weights are fitted to what the layers read."""
        return True

    def working_bytes(self, checkpoint: Checkpoint, options: GptqOptions) -> int:
        """At most: states of the calibration texts, which are files where they take much memory."""
        tokens = options.calibration_samples * min(options.calibration_tokens, checkpoint.context_length)
        return STATE_BYTES * tokens * model_shape(checkpoint.config).hidden

    def build_work(self, checkpoint: Checkpoint, options: GptqOptions, threads: int) -> BuildWork:
        """Counted in operations; see ``_build_work.py``."""
        return gptq_work(checkpoint, options.calibration_samples, options.calibration_tokens, threads)

    def tolerance(self, options: GptqOptions) -> float:
        """By the number of steps of a group."""
        return {8: 0.05, 4: 0.4, 3: 0.8, 2: 1.5}[options.bits]

    def server_kernels(self, checkpoint: Checkpoint, options: GptqOptions) -> list[dict[str, Any]]:
        """By bits, groups, order and sizes; see ``_gptq_kernels.kernel_limits``."""
        return kernel_limits(quantization_config(options, group_size(checkpoint, options)), _shapes(checkpoint))

    def convert(
        self, checkpoint: Checkpoint, options: GptqOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Calibrate and quantize; see ``Format.convert``."""
        self.check_architecture(checkpoint)
        if not context.calibration:
            raise WorkbenchError("gptq needs calibration texts and got none; give it questions with their SQL")
        group = group_size(checkpoint, options)
        groups = _groups(checkpoint, options)
        files = safetensors_files(groups)
        with Output(files, out, checkpoint, context) as output, quiet_libraries():
            output.write_all()  # what is not quantized
            calibration = _calibration(checkpoint, options, context)
            quantizer = Quantizer(checkpoint, calibration, stored_tensors(out, groups, files), out, output)
            quantizer.run(context)
        quantizer.clear()
        write_index(out, groups, files)
        config = quantization_config(options, group)
        write_config(checkpoint, out, {"quantization_config": config})
        (out / "quantize_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        copy_small_files(checkpoint, out)
        return _details(options, calibration, quantizer.facts)


def _calibration(checkpoint: Checkpoint, options: GptqOptions, context: ConversionContext) -> Calibration:
    """Texts as token ids, and how to quantize."""
    from workbench.kernels.gptq_settings import GptqSettings

    most_tokens = min(options.calibration_tokens, checkpoint.context_length)
    sequences = tokenize(checkpoint, context.calibration, options.calibration_samples, most_tokens)
    if not sequences:
        raise WorkbenchError("gptq's calibration texts are all empty; give it questions with their SQL")
    group = group_size(checkpoint, options)
    settings = GptqSettings(options.bits, group, options.symmetric, options.desc_act, damp=options.damp)
    key = sha256_json([checkpoint.identity, options.model_dump(mode="json"), sequences])
    return Calibration(sequences, settings, key)


def _details(options: GptqOptions, calibration: Calibration, facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the manifest says of the quantization."""
    return {
        "bits": options.bits,
        "group_size": calibration.settings.group_size,
        "group_size_wanted": options.group_size,
        "damp": max(fact["damp"] for fact in facts.values()),
        "relative_errors": {name: fact["error"] for name, fact in sorted(facts.items())},
        "notes": {name: list(fact["notes"]) for name, fact in sorted(facts.items()) if fact["notes"]},
        "calibration": {
            "texts": len(calibration.sequences),
            "tokens": sum(map(len, calibration.sequences)),
            "sha256": sha256_json(calibration.sequences),
        },
    }


def group_size(checkpoint: Checkpoint, options: GptqOptions) -> int:
    """The wanted group size, or the widest smaller one that divides the inputs of every layer.

    Raises:
        CheckpointError: sizes that no GPTQ kernel reads.
    """
    shapes = _shapes(checkpoint)
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


def _shapes(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """``(out, in)`` of each layer to be quantized."""
    names = MODULES[checkpoint.architecture].linears(checkpoint)
    return [(info.shape[0], info.shape[1]) for info in (checkpoint.tensors[f"{name}.weight"] for name in names)]


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
    float_spec(info)  # refuses what is quantized already
    groups = 1 if group == -1 else inputs // group
    specs = (
        Spec(f"{layer}.qweight", "I32", (inputs * bits // _WORD, outputs)),
        Spec(f"{layer}.qzeros", "I32", (groups, outputs * bits // _WORD)),
        Spec(f"{layer}.scales", "F16", (groups, outputs)),
        Spec(f"{layer}.g_idx", "I32", (inputs,)),
    )
    return Group(specs, sources=(info.name,))


FORMAT = Gptq()
