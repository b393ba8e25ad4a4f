"""GPTQ that spends its bits better, layer by layer: aimed at the float model's outputs, and polished.

Beside the texts' states in the model being quantized go those of the float model (``FloatStream``). A layer then aims
at what the float model's layer gives, not at what its own weights would make of inputs that are wrong already
(``workbench/kernels/gptq_target.py``), so errors are fed back from block to block instead of adding up; after the solve
codes and scales are set to their optimum one by one (``workbench/kernels/gptq_polish.py``). The file is of the same
layout and size as plain GPTQ's.

It costs a second pass of the texts, twice the room for their states, a second copy of the block, and for each step one
more matrix of the Hessian's size. Polishing takes some ten times as long as GPTQ's own pass over the columns: the
bundled model is made in three times its time (27 s of a core beside 9 s).

Example::

    float_stream = FloatStream(checkpoint, sequences, workers, hidden, room)
    with float_stream.block(0) as float_run:
        solver = step_solver(settings, 6144, (block_run, float_run), 0, workers)
        result = solver.quantize(weight)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workbench.batches import HiddenFolder
from workbench.block_run import BlockRun
from workbench.checkpoint import Checkpoint
from workbench.formats._gptq_place import Place
from workbench.formats._gptq_solver import DeviceStepSolver, StepSolver
from workbench.streamed_model import StreamedModel
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.kernels.gptq import GptqResult
    from workbench.kernels.gptq_settings import GptqSettings


class FloatStream:
    """The calibration texts on their way through the float model, block by block.

    Args:
        checkpoint: the source.
        sequences: token ids of the texts.
        workers: to run batches on.
        hidden: where their states lie; in memory without it.
        room: bytes of memory for inner activations; see ``BlockRun``.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sequences: Sequence[Sequence[int]],
        workers: Workers,
        hidden: HiddenFolder | None,
        room: int,
    ) -> None:
        self._model = StreamedModel(checkpoint, workers, hidden=hidden)
        self._batches = self._model.embed(sequences)
        self._hidden = hidden
        self._room = room

    def go_to(self, place: int) -> None:
        """Bring the texts in front of a block: from where an earlier run left them, or from the beginning."""
        restored = self._hidden.restore(self._batches, place) if self._hidden else 0
        for passed in range(restored, place):
            with self.block(passed):
                pass

    @contextmanager
    def block(self, place: int) -> Iterator[BlockRun]:
        """The block in front of the texts; they have passed it when the context ends."""
        with self._model.block(place) as block:
            self._model.read_ahead(place + 1)
            run = self._model.block_run(block, self._batches, self._room)
            yield run
            if place + 1 < self._model.depth:
                run.finish()
                if self._hidden:
                    self._hidden.finish(place + 1)


class RefinedSolver(StepSolver):
    """The same as ``StepSolver`` for layers whose float inputs are known too.

    Args:
        settings: how to quantize.
        inputs: columns of the layers.
        workers: to do it on.
    """

    def __init__(self, settings: GptqSettings, inputs: int, workers: Workers) -> None:
        from workbench.kernels.gptq_target import new_shift

        super().__init__(settings, inputs, workers)
        self._shift = new_shift(inputs)

    def add(self, inputs: Tensor, wanted: Tensor | None = None) -> None:
        """Take into account what the layers read, and what they read in the float model, both ``[tokens, in]``."""
        from workbench.kernels.gptq_target import add_shift

        super().add(inputs)
        if wanted is not None:
            add_shift(self._shift, inputs, wanted, self._workers)

    def quantize(self, weight: Tensor) -> GptqResult:
        """A layer's codes, scales, zeros and groups; its relative error is that of the weights aimed at."""
        from workbench.kernels.gptq import quantize
        from workbench.kernels.gptq_polish import polish
        from workbench.kernels.gptq_target import corrected

        target = corrected(weight, self._shift, self.factor, 1.0, self._workers)
        return polish(target, quantize(target, self.factor, self._settings, self._workers), self.factor, self._workers)


def step_solver(
    settings: GptqSettings,
    width: int,
    runs: tuple[BlockRun, BlockRun | None],
    step: int,
    workers: Workers,
    where: Place,
) -> StepSolver | DeviceStepSolver:
    """The solver of a step's layers, which has been shown what they read.

    Args:
        settings: how to quantize.
        width: inputs of the layers.
        runs: the block in the model being quantized and, where layers are to be refined, in the float model.
        step: of the block.
        workers: to do it on.
        where: to do it, where there is nothing to refine.
    """
    run, float_run = runs
    if float_run is None:
        solver = where.solver(settings, width, workers)
        for inputs in run.inputs(step):
            solver.add(inputs)
            del inputs  # else the last batch's would stay while the layers are solved
        return solver
    refined = RefinedSolver(settings, width, workers)
    for inputs, wanted in zip(run.inputs(step), float_run.inputs(step), strict=True):
        refined.add(inputs, wanted)
        del inputs, wanted
    return refined
