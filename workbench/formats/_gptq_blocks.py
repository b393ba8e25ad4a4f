"""GPTQ through a whole model: block after block, resumed where a killed run stopped.

In memory are the weights of one block and, as they are stored, of the next, the Hessian of one step and a few
batches. The texts' states between blocks are in memory up to a limit; where they take more they are files
(``workbench/batches.py``). What a stopped run leaves behind beside the output file itself lies in ``.gptq`` inside the
output folder:

- the output file: finished layers are read back and dequantized, which gives the very weights the
  unbroken run went on with, for it also goes on with what is stored (scales in float16);
- ``layers.jsonl``: error, damping and notes of each layer, for the manifest;
- ``hidden/``: states behind the last block that was passed, where they are files.

So a run that goes on solves no layer twice, and ends with the same bytes; where the states were in memory it passes
the finished blocks once more.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from workbench.architecture import MODULES
from workbench.batches import STATE_BYTES, HiddenFolder, padded_tokens
from workbench.block_run import BlockRun
from workbench.checkpoint import Checkpoint
from workbench.formats._gptq_place import CPU, Place
from workbench.formats._gptq_refine import FloatStream, step_solver
from workbench.formats._output import OutputFile
from workbench.formats._safetensors import Group
from workbench.formats.base import ConversionContext
from workbench.journal import Journal
from workbench.shape import model_shape
from workbench.streamed_model import StreamedModel
from workbench.tensors import TensorInfo, read_rows
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.formats._output import Values
    from workbench.kernels.gptq import GptqResult
    from workbench.kernels.gptq_cuda import DeviceResult
    from workbench.kernels.gptq_settings import GptqSettings
    from workbench.kernels.packing import PackedLayer

SCRATCH = ".gptq"


@dataclass(frozen=True)
class Calibration:
    """How to quantize, and on what.

    Attributes:
        sequences: token ids of the calibration texts.
        settings: bits, groups, order, scales and damping.
        key: digest of the work; what other work left behind is not used.
        version: of the layout.
        refine: whether layers are aimed at the float model's outputs, and polished (``_gptq_refine.py``).
        where: to compute.
    """

    sequences: Sequence[Sequence[int]]
    settings: GptqSettings
    key: str
    version: int = 1
    refine: bool = False
    where: Place = CPU


class Taker(Protocol):
    """Who takes the packed layers: an ``Output``, or whoever compares them with one."""

    def finished(self, name: str) -> bool:
        """Whether a part need not be made."""

    def put(self, name: str, pieces: Iterable[Values]) -> None:
        """Take the next part."""


class Quantizer:
    """One conversion's way through the blocks.

    Args:
        checkpoint: the source.
        calibration: how and on what.
        stored: where each tensor lies in the output files.
        folder: of the output.
        output: takes the packed layers in order.

    Attributes:
        facts: relative error, damping and notes of each finished layer, by name.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        calibration: Calibration,
        stored: dict[str, TensorInfo],
        folder: Path,
        output: Taker,
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
        where = self._calibration.where
        memory = context.calibration_memory if where.memory is None else where.memory
        hidden = self._hidden_folder(memory, "hidden")
        room = memory - (0 if hidden else self._states_bytes())
        with Workers(1 if where.by_torch else context.threads) as workers:
            model = StreamedModel(self._checkpoint, workers, where.dtype, hidden, where.device)
            begun = next((place for place in range(model.depth) if not self._passed(place)), model.depth)
            if begun == model.depth:
                return
            batches = model.embed(self._calibration.sequences)
            begin = hidden.restore(batches, begun) if hidden else 0
            floats = self._float_stream(workers, memory, begin)
            end = self._end(model.depth)
            for place in range(begin, end):
                float_block: AbstractContextManager[BlockRun | None] = floats.block(place) if floats else nullcontext()
                with float_block as float_run, model.block(place, self._stored_weights(place)) as block:
                    model.read_ahead(place + 1, but=self._finished_weights(place + 1))
                    block_run = model.block_run(block, batches, room)
                    for step in range(len(self._modules.steps)):
                        self._quantize_step(workers, block, (block_run, float_run), place, step)
                    if place + 1 < end:
                        block_run.finish()
                        if hidden:
                            hidden.finish(place + 1)
                context.progress(place + 1, end, "blocks")

    def _end(self, depth: int) -> int:
        """Of the blocks that texts pass."""
        return depth

    def _float_stream(self, workers: Workers, memory: int, place: int) -> FloatStream | None:
        """The texts in the float model, in front of a block, where the layers are to be refined."""
        if not self._calibration.refine:
            return None
        hidden = self._hidden_folder(memory, "float")
        room = memory - (0 if hidden else self._states_bytes())
        stream = FloatStream(self._checkpoint, self._calibration.sequences, workers, hidden, room)
        stream.go_to(place)
        return stream

    def _hidden_folder(self, memory: int, name: str) -> HiddenFolder | None:
        """Where the texts' states go that would take more than so many bytes of memory."""
        if self._states_bytes() <= memory:
            return None
        return HiddenFolder(self._scratch / name, self._calibration.key)

    def _states_bytes(self) -> int:
        """Of a block's inputs, of its outputs, and of what attention leaves behind (``workbench/block_run.py``)."""
        state = STATE_BYTES // 4 * self._calibration.where.element_bytes
        states = state * padded_tokens(self._calibration.sequences) * model_shape(self._checkpoint.config).hidden
        return states * (2 if self._calibration.refine else 1)

    def clear(self) -> None:
        """Remove what was kept for another run; call when all is written."""
        shutil.rmtree(self._scratch)

    def _full_names(self, place: int, step: Sequence[str]) -> dict[str, str]:
        """Full name of each layer of a step: its name in the block."""
        return {f"{self._modules.blocks}.{place}.{name}": name for name in step}

    def _passed(self, place: int) -> bool:
        """Whether all layers of a block were finished by an earlier run."""
        return all(self._full_names(place, step).keys() <= self._finished for step in self._modules.steps)

    def _finished_weights(self, place: int) -> dict[str, str]:
        """Weights of a block's finished layers: by the parameter's name in the block, the layer's full name."""
        steps = (self._full_names(place, step) for step in self._modules.steps)
        return {f"{name}.weight": full for layers in steps for full, name in layers.items() if full in self._finished}

    def _stored_weights(self, place: int) -> dict[str, Tensor]:
        """Weights of a block's finished layers as they were stored, by the parameter's name in the block."""
        return {parameter: self._stored_weight(layer) for parameter, layer in self._finished_weights(place).items()}

    def _stored_weight(self, layer: str) -> Tensor:
        """What a finished layer's stored codes stand for."""
        import torch

        from workbench.kernels.packing import dequantize

        where = self._calibration.where
        weight = dequantize(self._read(layer), self._calibration.settings.bits, self._calibration.version)
        return torch.from_numpy(weight).to(where.device, getattr(torch, where.dtype))

    def _read(self, layer: str) -> PackedLayer:
        """A finished layer out of the output files."""
        from workbench.kernels.packing import PackedLayer

        parts = (self._stored[f"{layer}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx"))
        return PackedLayer(*(read_rows(info, slice(0, info.rows)).numpy() for info in parts))

    def _quantize_step(
        self,
        workers: Workers,
        block: nn.Module,
        runs: tuple[BlockRun, BlockRun | None],
        place: int,
        step: int,
    ) -> None:
        """Layers that read the same input, from one Hessian; ``runs`` are the quantized and the float block's."""
        layers = self._full_names(place, self._modules.steps[step])
        weights = {
            full_name: block.get_parameter(f"{name}.weight")
            for full_name, name in layers.items()
            if full_name not in self._finished
        }
        if not weights:
            return
        width = next(iter(weights.values())).shape[1]
        solver = step_solver(self._calibration.settings, width, runs, step, workers, self._calibration.where)
        for full_name, weight in weights.items():
            self._settle(full_name, weight, solver.quantize(weight))

    def _settle(self, name: str, weight: Tensor, result: GptqResult | DeviceResult) -> None:
        """Go on with a layer's new weights and hand its four tensors to the output; its facts are noted before."""
        result.write_to(weight)
        fact = {"layer": name, "error": round(result.relative_error, 6), "damp": result.damp, "notes": result.notes}
        self.facts[name] = fact
        self._journal.add(fact)
        self._output.put(f"{name}.qweight", result.pieces(self._calibration.version))


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
