"""What the calibration pass asks of GPTQ's solver, whichever processor does it.

The pass (``_gptq_blocks.py``) hands over what a step's layers read, batch by batch, and then each layer's weights.
How a Hessian is laid out, factorised and used is the affair of ``workbench/kernels``. Layers that read the same inputs
share one factor, made when the first of them is quantized.

Example::

    solver = StepSolver(GptqSettings(bits=4), inputs=6144, workers=workers)
    solver.add(activations)             # [tokens, 6144], as often as there are batches
    result = solver.quantize(weight)    # [out, 6144]
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.kernels.gptq import GptqResult
    from workbench.kernels.gptq_cuda import DeviceResult
    from workbench.kernels.gptq_settings import GptqSettings
    from workbench.kernels.hessian import Factor


class StepSolver:
    """GPTQ of the layers of one step, on the CPU.

    Args:
        settings: how to quantize.
        inputs: columns of the layers.
        workers: to do it on.
    """

    def __init__(self, settings: GptqSettings, inputs: int, workers: Workers) -> None:
        from workbench.kernels.hessian import new_hessian

        self._settings = settings
        self._workers = workers
        self._hessian = new_hessian(inputs)
        self._tokens = 0

    def add(self, inputs: Tensor) -> None:
        """Take what the layers read, ``[tokens, in]``, into account; before the first ``quantize``."""
        from workbench.kernels.hessian import add_inputs

        add_inputs(self._hessian, inputs, self._workers)
        self._tokens += len(inputs)

    @cached_property
    def factor(self) -> Factor:
        """The damped Hessian's triangular factor; the Hessian is used up.

        Raises:
            WorkbenchError: inputs were not finite, or no damping makes the Hessian definite.
        """
        from workbench.kernels.hessian import factorise

        settings, hessian = self._settings, self._hessian
        del self._hessian
        return factorise(hessian, settings.damp, settings.desc_act, self._workers, self._tokens)

    def quantize(self, weight: Tensor) -> GptqResult:
        """A layer's codes, scales, zeros and groups.

        Raises:
            WorkbenchError: as ``factor``; or a weight is not finite, or too large for float16 scales.
        """
        from workbench.kernels.gptq import quantize

        return quantize(weight, self.factor, self._settings, self._workers)


class DeviceStepSolver:
    """The same on a GPU, or whichever device torch knows: nothing leaves it but the packed layers.

    Args:
        settings: how to quantize.
        inputs: columns of the layers.
        device: torch's name of it.
    """

    def __init__(self, settings: GptqSettings, inputs: int, device: str) -> None:
        import torch

        self._settings = settings
        self._hessian = torch.zeros(inputs, inputs, device=device)
        self._waiting: list[Tensor] = []
        self._tokens = 0

    def add(self, inputs: Tensor) -> None:
        """Take what the layers read, ``[tokens, in]``, into account; before the first ``quantize``."""
        self._tokens += len(inputs)
        self._waiting.append(inputs)
        from workbench.kernels.gptq_cuda_factor import TOGETHER

        if sum(map(len, self._waiting)) >= TOGETHER:
            self._add_waiting()

    def _add_waiting(self) -> None:
        import torch

        from workbench.kernels.gptq_cuda_factor import add_inputs_on_device

        if self._waiting:
            add_inputs_on_device(self._hessian, torch.cat(self._waiting))
        self._waiting = []

    @cached_property
    def factor(self) -> Factor:
        """The damped Hessian's triangular factor; the Hessian is used up.

        Raises:
            WorkbenchError: inputs were not finite, or no damping makes the Hessian definite.
        """
        from workbench.kernels.gptq_cuda_factor import factorise_on_device

        self._add_waiting()
        hessian = self._hessian
        del self._hessian
        return factorise_on_device(hessian, self._settings, self._tokens)

    def quantize(self, weight: Tensor) -> DeviceResult:
        """A layer's codes, scales, zeros and groups.

        Raises:
            WorkbenchError: as ``factor``; or a weight is not finite, or too large for float16 scales.
        """
        from workbench.kernels.gptq_cuda import solve

        return solve(weight, self.factor, self._settings)
