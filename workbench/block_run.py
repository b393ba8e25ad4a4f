"""Texts on their way through one block, step by step, while its layers are being replaced.

GPTQ wants the inputs of each step of a block computed by the quantized layers of the steps before. Run from its
beginning each time, a block of StarCoder is computed 1.9 times over. Here a batch leaves behind what the rest of the
block needs of the part that it has passed: the input of attention's last layer and, when that layer has its final
weights, its output, which then stands for all of attention. These are as large as the states themselves and lie where
the states do. The MLP's inner activations are four times as large: they are kept where there is room for them, and
computed once more (from the step before) where there is none.

    parts                     attention                    MLP
    steps                0. in         1. out         2. in       3. out
    inputs(1) runs       ##############                             leaves out's input
    inputs(2) runs                     ##                           leaves out's output
    inputs(3) runs                                    ######        leaves out's input, if there is room
    finish() runs                                     (####)   ##   the states behind the block

The forward code is transformers' own, in which a part that is passed is replaced by a function that gives its output.

Example::

    run = BlockRun(block, MODULES["llama"], batches, workers)
    for step in range(4):
        for inputs in run.inputs(step): ...      # [real tokens, in], then replace the step's weights
    run.finish()                                 # batch.hidden is what the next block reads
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import local
from typing import TYPE_CHECKING, Any

from workbench.architecture import Modules
from workbench.batches import Batch, HiddenFolder
from workbench.module_calls import Reached, replaced, watching
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class _Left:
    """What a batch left behind at a part: the input of its last layer or, where ``passed``, its output."""

    values: Tensor
    passed: bool


class BlockRun:
    """One block with its batches.

    Args:
        block: with its weights, which the caller replaces step by step.
        facts: of the architecture.
        batches: in front of the block.
        workers: to run batches on.
        folder: where the states lie; in memory without it.
        room: bytes of memory for the MLP's inner activations; with less than they take they are computed twice.
    """

    def __init__(
        self,
        block: nn.Module,
        facts: Modules,
        batches: Sequence[Batch],
        workers: Workers,
        folder: HiddenFolder | None = None,
        room: int = 0,
    ) -> None:
        self._block = block
        self._facts = facts
        self._batches = batches
        self._workers = workers
        self._folder = folder
        width = self._last_layer(len(facts.steps) - 1).weight.shape[1]
        inner = sum(batch.real.numel() * batch.hidden.element_size() * width for batch in batches)
        self._roomy = inner <= room
        self._left: dict[tuple[str, int], _Left] = {}

    def inputs(self, step: int) -> Iterator[Tensor]:
        """What a step's layers read, ``[real tokens, in]`` for each batch; computed no further than there.

        Steps come in order; one may be left out. Weights of the steps before must be final.
        """
        name = self._facts.steps[step][0]
        with self._passed_parts(step) as now, watching(self._block, (name,), stop=True) as seen:

            def inputs(batch: Batch) -> Tensor:
                now.batch, seen.inputs = batch, {}
                with suppress(Reached):
                    self._forward(batch)
                read: Tensor = seen.inputs.pop(name)
                self._leave(step, batch, read)
                return read[batch.real]

            yield from self._workers.map(inputs, self._batches)

    def finish(self) -> None:
        """Replace the block's inputs by its outputs; the caller tells the folder when all is written."""
        with self._passed_parts(len(self._facts.steps)) as now:

            def passing(batch: Batch) -> Tensor:
                now.batch = batch
                output = self._forward(batch)
                hidden: Tensor = output[0] if isinstance(output, tuple) else output
                return hidden

            for batch, hidden in zip(self._batches, self._workers.map(passing, self._batches), strict=True):
                batch.passed += 1
                batch.hidden = self._folder.keep(batch.passed, batch.number, hidden) if self._folder else hidden
        self._left = {}

    def _forward(self, batch: Batch) -> Any:
        return self._block(batch.hidden.to(batch.real.device), **batch.keywords)

    def _last_layer(self, step: int) -> nn.Linear:
        """The layer with which a part ends."""
        layer: nn.Linear = self._block.get_submodule(self._facts.steps[step][-1])  # type: ignore[assignment]
        return layer

    def _leave(self, step: int, batch: Batch, read: Tensor) -> None:
        """Keep what a part's last layer reads; of the last part only where there is room for it."""
        for part, last in self._facts.parts.items():
            if last == step and (self._roomy or not self._is_last(part)):
                self._keep(part, batch, read, passed=False)

    def _keep(self, part: str, batch: Batch, values: Tensor, passed: bool) -> None:
        """Values of a part, with the states; the last part's stay in memory, for there is room."""
        if self._folder and not self._is_last(part):
            values = self._folder.put(f"{part}-{'output' if passed else 'input'}", batch.number, values)
        self._left[part, batch.number] = _Left(values, passed)

    def _is_last(self, part: str) -> bool:
        return self._facts.parts[part] + 1 == len(self._facts.steps)

    @contextmanager
    def _passed_parts(self, step: int) -> Iterator[local]:
        """Parts that end before a step give what is left of them; the batch is told in ``batch`` of the thread."""
        now = local()
        with ExitStack() as stack:
            for part, last in self._facts.parts.items():
                if last < step:
                    stack.enter_context(replaced(self._block.get_submodule(part), partial(self._passed, part, now)))
            yield now

    def _passed(self, part: str, now: local, forward: Any, *arguments: Any, **keywords: Any) -> Any:
        """A part's output in place of its ``forward``: what is left of it spares its beginning, or all of it."""
        pair, batch = part == self._facts.attention, now.batch
        left = self._left.get((part, batch.number))
        if left and left.passed:
            output = left.values.to(batch.real.device)
        elif left:
            output = self._last_layer(self._facts.parts[part])(left.values.to(batch.real.device))
        else:
            output = forward(*arguments, **keywords)
            output = output[0] if pair else output
        if not self._is_last(part) and not (left and left.passed):
            self._keep(part, batch, output, passed=True)
        return (output, None) if pair else output
