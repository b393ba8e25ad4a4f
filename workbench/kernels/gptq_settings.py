"""What may be chosen about a layer's quantization, apart from the weights and inputs themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GptqSettings:
    """How to quantize.

    Attributes:
        bits: 2, 3, 4 or 8.
        group_size: columns that share a scale: 32, 64, 128, or -1 for the whole row.
        symmetric: fixed zero in the middle of the codes; otherwise the grid spans minimum to maximum.
    """

    bits: int = 4
    group_size: int = 128
    symmetric: bool = True
