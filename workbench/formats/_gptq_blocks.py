"""GPTQ through a whole model: block after block, resumed where a killed run stopped.

In memory are the weights of one block, the Hessian of one step and a few batches; the texts' states after each
block are files (``workbench/batches.py``). What a stopped run leaves behind beside the output file itself lies in
``.gptq`` inside the output folder:

- the output file: finished layers are read back and dequantized, which gives the very weights the
  unbroken run went on with, for it also goes on with what is stored (scales in float16);
- ``layers.jsonl``: error and damping of each layer, for the manifest;
- ``hidden/``: states behind the last block that was passed.

So a run that goes on repeats at most the step it was stopped in, and ends with the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.architecture import MODULES
from workbench.batches import Batch, HiddenFolder
from workbench.checkpoint import Checkpoint
from workbench.formats._output import Output, OutputFile
from workbench.formats._safetensors import Group
from workbench.formats.base import ConversionContext
from workbench.journal import Journal
from workbench.streamed_model import StreamedModel
from workbench.tensors import TensorInfo, read_rows
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.kernels.gptq import GptqResult
    from workbench.kernels.gptq_settings import GptqSettings

SCRATCH = ".gptq"


@dataclass(frozen=True)
class Calibration:
    """How to quantize, and on what.

    Attributes:
        sequences: token ids of the calibration texts.
        settings: bits and groups.
        damp: share of the Hessian's mean diagonal to add.
        desc_act: round the inputs with the largest activations first.
        key: digest of the work; what other work left behind is not used.
    """

    sequences: Sequence[Sequence[int]]
    settings: GptqSettings
    damp: float
    desc_act: bool
    key: str


class Quantizer:
    """One conversion's way through the blocks.

    Args:
        checkpoint: the source.
        calibration: how and on what.
        stored: where each tensor lies in the output files.
        folder: of the output.
        output: takes the packed layers in order.

    Attributes:
        facts: relative error and damping of each finished layer, by name.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        calibration: Calibration,
        stored: dict[str, TensorInfo],
        folder: Path,
        output: Output,
    ) -> None:
        self._modules = MODULES[checkpoint.architecture]
        self._checkpoint = checkpoint
        self._calibration = calibration
        self._stored = stored
        self._output = output
        self._scratch = folder / SCRATCH
        self._scratch.mkdir(exist_ok=True)
        self._journal = Journal(self._scratch / "layers.jsonl", calibration.key)
        self._journal.keep(len(self._journal.entries))
        self.facts: dict[str, dict[str, Any]] = {entry["layer"]: entry for entry in self._journal.entries}
        finished = (name for name in self._modules.linears(checkpoint) if output.finished(f"{name}.qweight"))
        self._finished = {name for name in finished if name in self.facts}

    def run(self, context: ConversionContext) -> None:
        """Quantize what is left."""
        hidden = HiddenFolder(self._scratch / "hidden", self._calibration.key)
        with Workers(context.threads) as workers:
            model = StreamedModel(self._checkpoint, workers, hidden=hidden)
            begun = next((place for place in range(model.depth) if not self._passed(place)), model.depth)
            if begun == model.depth:
                return
            batches = model.embed(self._calibration.sequences)
            for place in range(hidden.restore(batches, begun), model.depth):
                with model.block(place, self._stored_weights(place)) as block:
                    for step in self._modules.steps:
                        self._quantize_step(model, workers, block, self._full_names(place, step), batches)
                    if place + 1 < model.depth:
                        model.advance(block, batches)
                context.progress(place + 1, model.depth, "blocks")

    def clear(self) -> None:
        """Remove what was kept for another run; call when all is written."""
        shutil.rmtree(self._scratch)

    def _full_names(self, place: int, step: Sequence[str]) -> dict[str, str]:
        """Full name of each layer of a step: its name in the block."""
        return {f"{self._modules.blocks}.{place}.{name}": name for name in step}

    def _passed(self, place: int) -> bool:
        """Whether all layers of a block were finished by an earlier run."""
        return all(self._full_names(place, step).keys() <= self._finished for step in self._modules.steps)

    def _stored_weights(self, place: int) -> dict[str, Tensor]:
        """Weights of a block's finished layers as they were stored, by parameter name."""
        import torch

        from workbench.kernels.packing import PackedLayer, dequantize

        weights = {}
        for step in self._modules.steps:
            for full_name, name in self._full_names(place, step).items():
                if full_name in self._finished:
                    parts = (self._stored[f"{full_name}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx"))
                    packed = PackedLayer(*(read_rows(info, slice(0, info.rows)).numpy() for info in parts))
                    weights[f"{name}.weight"] = torch.from_numpy(dequantize(packed, self._calibration.settings.bits))
        return weights

    def _quantize_step(
        self, model: StreamedModel, workers: Workers, block: nn.Module, layers: dict[str, str], batches: list[Batch]
    ) -> None:
        """Layers that read the same input, from one Hessian."""
        from workbench.kernels.gptq import quantize
        from workbench.kernels.hessian import add_inputs, factorise, new_hessian

        left = {full_name: name for full_name, name in layers.items() if full_name not in self._finished}
        if not left:
            return
        first = next(iter(left.values()))
        hessian = new_hessian(block.get_parameter(f"{first}.weight").shape[1])
        for inputs in model.layer_inputs(block, first, batches):
            add_inputs(hessian, inputs, workers)
        factor = factorise(hessian, self._calibration.damp, self._calibration.desc_act, workers)
        del hessian
        for full_name, name in left.items():
            weight = block.get_parameter(f"{name}.weight")
            result = quantize(weight, factor, self._calibration.settings, workers)
            result.write_to(weight)
            error = round(result.relative_error, 6)
            self._write(full_name, result, {"layer": full_name, "error": error, "damp": result.damp})

    def _write(self, name: str, result: GptqResult, fact: dict[str, Any]) -> None:
        """Hand a layer's four tensors to the output; what is to be known of it is noted before."""
        from workbench.kernels.packing import pack

        packed = pack(result.codes, result.scales, result.zeros, result.g_idx, self._calibration.settings.bits)
        self.facts[name] = fact
        self._journal.add(fact)
        self._output.put(f"{name}.qweight", [packed.qweight, packed.qzeros, packed.scales, packed.g_idx])


def stored_tensors(folder: Path, groups: Sequence[Group], files: Sequence[OutputFile]) -> dict[str, TensorInfo]:
    """Where each tensor lies, or will lie, in the output files."""
    specs_of = {group.name: group.specs for group in groups}
    found = {}
    for file in files:
        offset = len(file.head)
        for part in file.parts:
            for spec in specs_of[part.name]:
                found[spec.name] = TensorInfo(spec.name, spec.dtype, spec.shape, folder / file.name, offset)
                offset += spec.nbytes
    return found
