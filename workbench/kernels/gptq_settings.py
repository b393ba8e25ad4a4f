"""What may be chosen about a layer's quantization, apart from the weights and inputs themselves.

The defaults are the best that costs readers nothing. Rounding the inputs with the largest activations first lowers the
error most; with static groups the order leaves no trace in the package, where the columns' groups are neighbours as
ever and kernels run at full speed. Scales searched for what an error costs in the output lower it again (output error
beside range, dynamic groups and no order, 4 bits in groups of 128: 0.69 on a Llama of 135M, 0.87 on the bundled model).
``mse`` alone is no such default: where few inputs carry most of the output it clips their weights, to worse than range.

Example::

    GptqSettings()                                                     # 4 bits in groups of 128, as good as it gets
    GptqSettings(desc_act=False, static_groups=False, scales="range")  # the paper's
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
    desc_act: bool = True
    static_groups: bool = True
    scales: Scales = "hessian"
    damp: float = 0.01

    def __post_init__(self) -> None:
        allowed = {"bits": BITS, "group_size": GROUP_SIZES, "scales": get_args(Scales)}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}, and must be one of {values}")
        if not 0 <= self.damp <= 1:  # a NaN is refused too
            raise ValueError(f"damp is {self.damp!r}, and must lie between 0 and 1")
