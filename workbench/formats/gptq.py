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

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from workbench.architecture import ARCHITECTURES
from workbench.artifact import sha256_json
from workbench.batches import STATE_BYTES, tokenize
from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.formats._build_work import gptq_work, refined_work
from workbench.formats._draft import Apart, Draft
from workbench.formats._gptq_blocks import Calibration, Quantizer, stored_tensors
from workbench.formats._gptq_kernels import kernel_limits
from workbench.formats._gptq_layout import (
    checkpoint_format,
    group_facts,
    group_size,
    layer_shapes,
    quantization_config,
    tensor_groups,
    write_configs,
)
from workbench.formats._gptq_notes import how_to_load, note_lines
from workbench.formats._gptq_place import CPU, place_for
from workbench.formats._gptq_recheck import Recheck, codes_apart, packed_of
from workbench.formats._gptq_tuning import check_tuning, tune_model
from workbench.formats._output import Output
from workbench.formats._safetensors import safetensors_files, total_bytes, write_index
from workbench.formats.base import BuildWork, ConversionContext, Format, Options, copy_small_files
from workbench.quiet import quiet_libraries
from workbench.shape import model_shape

if TYPE_CHECKING:
    from workbench.formats._draft import Put


class GptqOptions(Options):
    """How to quantize.

    Attributes:
        bits: bits of a weight.
        group_size: inputs that share a scale (-1: a whole row).
        last_group: ``full``: where the group does not divide the inputs of every layer, the widest smaller one that
            does is taken, which every server reads; ``narrow``: it is kept, and the last group of such a layer
            holds what is left, which gptqmodel's torch and triton kernels read and vLLM does not.
        symmetric: zero in the middle of the codes; Marlin and most servers want it.
        desc_act: quantize the inputs with the largest activations first.
        static_groups: choose all scales before the first input is rounded, for groups of neighbouring inputs; so the
            order of ``desc_act`` leaves no trace in the package, where it slows some kernels.
        scales: ``range`` spans a group's largest weight, ``mse`` searches the scale of the least squared error,
            ``hessian`` weighs the squares by what they cost in the layer's output.
        damp: share of the mean activation energy added to the diagonal for stability.
        kernel: the kernel that a recipe promises; what it does not take is refused before anything is computed.
        checkpoint_format: ``gptq`` stores zeros minus one, ``gptq_v2`` as they are; default by ``symmetric``
            (``_gptq_layout.py`` tells why).
        refine: ``none`` is GPTQ as published; ``layers`` aims each layer at the float model's outputs and polishes its
            codes and scales (``_gptq_refine.py``); ``model`` goes on to tune scales, norms and biases through the whole
            model, which must fit memory (``_gptq_tuning.py``). The size is the same.
        calibration_samples: texts to calibrate on.
        calibration_tokens: most tokens of one text.
    """

    bits: Literal[2, 3, 4, 8] = 4
    group_size: Literal[-1, 32, 64, 128] = 128
    last_group: Literal["full", "narrow"] = "full"
    symmetric: bool = True
    desc_act: bool = True
    static_groups: bool = True
    scales: Literal["range", "mse", "hessian"] = "hessian"
    damp: float = Field(default=0.01, ge=0, le=1)
    kernel: Literal["none", "marlin"] = "none"
    checkpoint_format: Literal["gptq", "gptq_v2"] | None = None
    refine: Literal["none", "layers", "model"] = "none"
    calibration_samples: int = Field(default=128, ge=1)
    calibration_tokens: int = Field(default=1024, ge=8)


class Gptq(Format[GptqOptions]):
    """Sequential GPTQ in AutoGPTQ's layout."""

    name = "gptq"
    title = "GPTQ"
    options_model = GptqOptions
    architectures = ARCHITECTURES
    libraries = ("torch", "transformers", "numba", "numpy")
    engines = ("vllm", "gptqmodel")
    requires = (("torch", "torch"), ("transformers", "transformers"), ("numba", "numba"))

    def predicted_bytes(self, checkpoint: Checkpoint, options: GptqOptions) -> int:
        """Exact: tensors and headers."""
        self.check_architecture(checkpoint)
        return total_bytes(safetensors_files(tensor_groups(checkpoint, options)))

    def parts_stand_alone(self, options: GptqOptions) -> bool:
        """Not where the whole model is tuned in the end."""
        return options.refine != "model"

    def wants_calibration(self, options: GptqOptions) -> bool:
        """Always: the weights are fitted to what the layers read."""
        return True

    def working_bytes(self, checkpoint: Checkpoint, options: GptqOptions) -> int:
        """At most: states of the calibration texts, which are files where they take much memory."""
        tokens = options.calibration_samples * min(options.calibration_tokens, checkpoint.context_length)
        streams = 1 if options.refine == "none" else 2
        return streams * STATE_BYTES * tokens * model_shape(checkpoint.config).hidden

    def build_work(self, checkpoint: Checkpoint, options: GptqOptions, threads: int) -> BuildWork:
        """Counted in operations; see ``_build_work.py``."""
        texts = options.calibration_samples, options.calibration_tokens
        if options.refine == "none":
            return gptq_work(checkpoint, *texts, threads)
        return refined_work(checkpoint, *texts, threads, whole_model=options.refine == "model")

    def tolerance(self, options: GptqOptions) -> float:
        """By the number of steps of a group."""
        return {8: 0.05, 4: 0.4, 3: 0.8, 2: 1.5}[options.bits]

    def server_kernels(self, checkpoint: Checkpoint, options: GptqOptions) -> list[dict[str, Any]]:
        """By bits, groups, order and sizes; see ``_gptq_kernels.kernel_limits``."""
        return kernel_limits(quantization_config(options, group_size(checkpoint, options)), layer_shapes(checkpoint))

    def remarks(self, details: dict[str, Any]) -> list[str]:
        """Other groups than wanted, and what the solver had to handle, a line for each kind (``_gptq_notes.py``)."""
        group = [details["group_size_note"]] if "group_size_note" in details else []
        return [*group, *note_lines(details["notes"])]

    def convert(
        self, checkpoint: Checkpoint, options: GptqOptions, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Calibrate and quantize; see ``Format.convert``."""
        self.check_architecture(checkpoint)
        if options.refine == "model":
            check_tuning(checkpoint, min(len(context.calibration), options.calibration_samples))
        groups = tensor_groups(checkpoint, options)  # refuses what cannot be made before texts are looked at
        calibration = _calibration(checkpoint, options, context)
        files = safetensors_files(groups)
        with Output(files, out, checkpoint, context) as output, quiet_libraries():
            output.write_all()  # what is not quantized
            quantizer = Quantizer(checkpoint, calibration, stored_tensors(out, groups, files), out, output)
            quantizer.run(context)
        facts = _facts_of_layers(quantizer.facts)
        if options.refine == "model":
            facts["tuning"] = tune_model(checkpoint, calibration, stored_tensors(out, groups, files), context)
        quantizer.clear()
        return _finish(checkpoint, options, calibration, out) | facts

    def draft(self, checkpoint: Checkpoint, options: GptqOptions, context: ConversionContext) -> Draft:
        """A part for each tensor that stays, and one for each layer, to be solved; see ``Format.draft``."""
        if not self.parts_stand_alone(options):
            raise WorkbenchError("scales, norms and biases of refine: model are tuned all at once, not one by one")
        self.check_architecture(checkpoint)
        groups = tensor_groups(checkpoint, options)  # refuses what cannot be made before texts are looked at
        calibration = _calibration(checkpoint, options, context)
        files = safetensors_files(groups)
        shapes = {group.name: [(spec.dtype, spec.shape) for spec in group.specs] for group in groups}

        def solve(names: Collection[str], folder: Path, put: Put) -> None:
            layers = {name.removesuffix(".qweight") for name in names}
            with quiet_libraries():
                Recheck(checkpoint, calibration, stored_tensors(folder, groups, files), layers, put).run(context)

        def distance(name: str, *sides: bytes) -> Apart:
            made, stored = (packed_of(side, shapes[name]) for side in sides)
            return codes_apart(made, stored, options.bits, calibration.version)

        finish = partial(_finish, checkpoint, options, calibration)
        return Draft(tuple(files), finish, solve, distance=distance)


def _calibration(checkpoint: Checkpoint, options: GptqOptions, context: ConversionContext) -> Calibration:
    """Texts as token ids, and how to quantize."""
    from workbench.kernels.gptq_settings import GptqSettings
    from workbench.kernels.packing import VERSIONS

    if not context.calibration:
        raise WorkbenchError("gptq needs calibration texts and got none; give it questions with their SQL")
    most_tokens = min(options.calibration_tokens, checkpoint.context_length)
    sequences = tokenize(checkpoint, context.calibration, options.calibration_samples, most_tokens)
    if not sequences:
        raise WorkbenchError("gptq's calibration texts are all empty; give it questions with their SQL")
    settings = GptqSettings(
        bits=options.bits,
        group_size=group_size(checkpoint, options),
        symmetric=options.symmetric,
        desc_act=options.desc_act,
        static_groups=options.static_groups,
        scales=options.scales,
        damp=options.damp,
    )
    refine = options.refine != "none"
    where = CPU if refine or context.device == CPU.device else place_for(checkpoint)
    key = sha256_json([checkpoint.identity, options.model_dump(mode="json"), sequences, where.device])
    return Calibration(sequences, settings, key, VERSIONS[checkpoint_format(options)], refine, where)


def _finish(checkpoint: Checkpoint, options: GptqOptions, calibration: Calibration, out: Path) -> dict[str, Any]:
    """Write what goes beside the weights; what the manifest says of the quantization, but for its results."""
    groups = tensor_groups(checkpoint, options)
    write_index(out, groups, safetensors_files(groups))
    write_configs(checkpoint, options, calibration.settings.group_size, out)
    copy_small_files(checkpoint, out)
    config = quantization_config(options, calibration.settings.group_size)
    return {
        "bits": options.bits,
        "checkpoint_format": checkpoint_format(options),
        **group_facts(checkpoint, options),
        "desc_act": options.desc_act,
        "static_groups": options.static_groups,
        "scales": options.scales,
        "refine": options.refine,
        "device": calibration.where.device,
        "loading": how_to_load(checkpoint.architecture, config, layer_shapes(checkpoint)),
        "calibration": {
            "texts": len(calibration.sequences),
            "tokens": sum(map(len, calibration.sequences)),
            "sha256": sha256_json(calibration.sequences),
        },
    }


def _facts_of_layers(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the manifest says of the layers, out of what was noted of each."""
    return {
        "damp": max(fact["damp"] for fact in facts.values()),
        "relative_errors": {name: fact["error"] for name, fact in sorted(facts.items())},
        "notes": {name: list(fact["notes"]) for name, fact in facts.items() if fact["notes"]},
    }


FORMAT = Gptq()
