"""Where GPTQ computes: on a CUDA GPU that has room for a block and its Hessian, else on the CPU.

On a GPU the texts pass the model in bfloat16, whose products tensor cores sum in float32, and layers are solved in
torch and Triton (``workbench/kernels/gptq_cuda.py``): the same results within rounding, so the bytes are not those
of a CPU, and the manifest says where they were made. Texts' states stay on the card while they fit beside the rest;
what takes more goes to files, as on the CPU. ``CUDA_VISIBLE_DEVICES= workbench ...`` hides a card from all of this.

Example::

    place = place_for(checkpoint)
    solver = place.solver(GptqSettings(), 6144, workers)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.architecture import MODULES
from workbench.batches import BATCH_TOKENS
from workbench.checkpoint import Checkpoint
from workbench.formats._gptq_solver import DeviceStepSolver, StepSolver
from workbench.workers import Workers

if TYPE_CHECKING:
    from workbench.kernels.gptq_settings import GptqSettings

MOST_BYTES = 20 << 30  # of a card, however much it has: others may want the rest
SPARE_BYTES = 1 << 30  # of those: libraries' work space, and what the allocator cannot fill
_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Place:
    """Where and in which type a conversion computes.

    Attributes:
        device: torch's name.
        dtype: torch's name of the type in which texts pass the model.
        memory: bytes there for the texts' states; ``None`` where the conversion's own limit holds.
        by_torch: whether layers are solved by the solver for devices.
    """

    device: str = "cpu"
    dtype: str = "float32"
    memory: int | None = None
    by_torch: bool = False

    @property
    def element_bytes(self) -> int:
        """Of a number in the type in which texts pass the model."""
        return _ELEMENT_BYTES[self.dtype]

    def solver(self, settings: GptqSettings, inputs: int, workers: Workers) -> StepSolver | DeviceStepSolver:
        """For the layers of a step that have so many inputs."""
        if self.by_torch:
            return DeviceStepSolver(settings, inputs, self.device)
        return StepSolver(settings, inputs, workers)


CPU = Place()


def place_for(checkpoint: Checkpoint) -> Place:
    """The first CUDA card, if what it has free holds everything but the texts' states; else the CPU."""
    import torch

    if not torch.cuda.is_available():
        return CPU
    free, _ = torch.cuda.mem_get_info()
    left = min(free, MOST_BYTES) - SPARE_BYTES - working_bytes(_layers(checkpoint))
    return Place("cuda", "bfloat16", left, by_torch=True) if left >= 0 else CPU


def _layers(checkpoint: Checkpoint) -> list[tuple[int, ...]]:
    facts = MODULES[checkpoint.architecture]
    names = (name for step in facts.steps for name in step)
    return [checkpoint.tensors[f"{facts.blocks}.0.{name}.weight"].shape for name in names]


def working_bytes(layers: Sequence[tuple[int, ...]]) -> int:
    """What a device holds at the most beside the texts' states, for a block with layers ``(out, in)``.

    The weights in bfloat16 and the widest Hessian; beside them whatever is largest of: a copy of the Hessian, when its
    columns are put in order; a panel of it and the inputs being added to it; a batch in the widest part of the block; a
    layer in float32 with its codes.
    """
    from workbench.kernels.gptq_cuda_factor import PANEL, TOGETHER

    widest = max(inputs for _, inputs in layers)
    adding = 4 * min(PANEL, widest) * widest + 2 * 2 * TOGETHER * widest
    passing = 2 * 4 * BATCH_TOKENS * widest  # the MLP's activations before and after its function, twice
    rounding = max(5 * rows * inputs for rows, inputs in layers)
    weights = 2 * sum(rows * inputs for rows, inputs in layers)
    return weights + 4 * widest**2 + max(4 * widest**2, adding + passing, rounding)
