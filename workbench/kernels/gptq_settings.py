"""What may be chosen about a layer's quantization, apart from the weights and inputs themselves.

Example::

    GptqSettings(bits=3, group_size=64, symmetric=False, desc_act=True, static_groups=True, scales="hessian")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from workbench.kernels.packing import BITS

Scales = Literal["range", "mse", "hessian"]
GROUP_SIZES = (-1, 32, 64, 128)


@dataclass(frozen=True)
class GptqSettings:
    """How to quantize.

    Attributes:
        bits: 2, 3, 4 or 8.
        group_size: columns that share a scale: 32, 64, 128, or -1 for the whole row.
        symmetric: fixed zero in the middle of the codes; otherwise the grid spans minimum to maximum.
        desc_act: round the inputs with the largest activations first; groups follow that order, unless static.
        static_groups: choose all scales from the weights as they were, for groups of neighbouring columns, before the
            first column is rounded. Otherwise a group's scales are chosen when its first column is reached, from
            the weights as the columns before have moved them.
        scales: ``range`` spans the largest weight of a group; ``mse`` searches the scale (and zero) of least squared
            error; ``hessian`` weighs the squares by what an error in that column costs in the output.
        damp: share of the mean of the Hessian's diagonal that is added to the diagonal, 0 to 1.

    Raises:
        ValueError: a value that is none of these.
    """

    bits: int = 4
    group_size: int = 128
    symmetric: bool = True
    desc_act: bool = False
    static_groups: bool = False
    scales: Scales = "range"
    damp: float = 0.01

    def __post_init__(self) -> None:
        allowed = {"bits": BITS, "group_size": GROUP_SIZES, "scales": get_args(Scales)}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}, and must be one of {values}")
        if not 0 <= self.damp <= 1:  # a NaN is refused too
            raise ValueError(f"damp is {self.damp!r}, and must lie between 0 and 1")
