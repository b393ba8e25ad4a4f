"""What the calibration pass asks of GPTQ's solver, whichever processor does it.

The pass (``_gptq_blocks.py``) hands over the inputs of a step's layers batch by batch and then each layer's weights.
How a Hessian is laid out, factorised and used is the affair of ``workbench/kernels``. Layers that read the same inputs
share one factor.

Example::

    solver = Solver(GptqSettings(bits=4), damp=0.01, desc_act=False, workers=workers)
    hessian = solver.new_hessian(weight)
    solver.add_inputs(hessian, inputs)
    result = solver.quantize(weight, solver.factorise(hessian))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.kernels.gptq import GptqResult
    from workbench.kernels.gptq_settings import GptqSettings
    from workbench.kernels.hessian import Factor


class Solver:
    """GPTQ on the CPU.

    Args:
        settings: bits and groups.
        damp: share of the Hessian's mean diagonal to add.
        desc_act: round the inputs with the largest activations first.
        workers: to do it on.
    """

    def __init__(self, settings: GptqSettings, damp: float, desc_act: bool, workers: Workers) -> None:
        self._settings = settings
        self._damp = damp
        self._desc_act = desc_act
        self._workers = workers

    def new_hessian(self, weight: Tensor) -> Tensor:
        """An empty Hessian ``(in, in)`` for a layer's inputs."""
        from workbench.kernels.hessian import new_hessian

        return new_hessian(weight.shape[1])

    def add_inputs(self, hessian: Tensor, inputs: Tensor) -> None:
        """Add what a layer reads, ``(tokens, in)``, to its Hessian."""
        from workbench.kernels.hessian import add_inputs

        add_inputs(hessian, inputs, self._workers)

    def factorise(self, hessian: Tensor) -> Factor:
        """The Hessian's damped triangular factor; the Hessian is used up.

        Raises:
            WorkbenchError: inputs were not finite, or no damping makes the Hessian definite.
        """
        from workbench.kernels.hessian import factorise

        return factorise(hessian, self._damp, self._desc_act, self._workers)

    def quantize(self, weight: Tensor, factor: Factor) -> GptqResult:
        """A layer's codes and scales.

        Raises:
            WorkbenchError: a weight is not finite.
        """
        from workbench.kernels.gptq import quantize

        return quantize(weight, factor, self._settings, self._workers)
