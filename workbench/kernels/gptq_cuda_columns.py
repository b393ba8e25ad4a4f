"""The inner loop of GPTQ on a device: columns of a block one after another, all rows side by side.

The triangle itself serves, no inverse (Babai's nearest plane, arXiv 2507.18553): with E the change of the columns done,
U the corner of the factor and c what the columns before the block carry into it,

    value_j = w_j + (c_j + sum_{i<j} E_i U_ij) / U_jj ,    E_j = w_j - rounded(value_j)

so a column costs one pass over the changes before it, where updating all columns behind it would read and write them.
On a CUDA device with triton this is one kernel (``_gptq_triton.py``); anywhere else the same in torch, some ten
launches per column, which a GPU spends mostly waiting.

Example::

    round_columns_on_device(open_, carried, corner, Columns(scales, zeros, groups, 15), codes)
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Columns:
    """The grids of a block's columns.

    Attributes:
        scales: ``(rows, groups)`` float16.
        zeros: ``(rows, groups)`` uint8.
        groups: int32 ``(columns,)``, the group of each column of the block.
        top: the largest code.
    """

    scales: Tensor
    zeros: Tensor
    groups: Tensor
    top: int


def round_columns_on_device(values: Tensor, carried: Tensor, corner: Tensor, grids: Columns, codes: Tensor) -> None:
    """Round the columns of a block, first to last.

    Args:
        values: ``(rows, columns)`` float32 weights; replaced by what rounding took from them.
        carried: ``(rows, columns)``, E U of the columns before the block.
        corner: ``(columns, columns)``, the factor's corner; its upper triangle is read.
        grids: of the columns.
        codes: ``(rows, columns)`` uint8, written.
    """
    if values.is_cuda and triton_usable():
        from workbench.kernels._gptq_triton import round_columns

        round_columns(values, carried, corner, grids, codes)
    else:
        _round_columns(values, carried, corner, grids, codes)


@cache
def triton_usable() -> bool:
    """Whether Triton can make its kernels here.

    CUDA builds of torch bring triton on Linux, but it wants a C compiler and Python's headers too, for a launcher
    that it compiles on its first use.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return importlib.util.find_spec("triton") is not None and compiler is not None and headers.is_file()


def _round_columns(values: Tensor, carried: Tensor, corner: Tensor, grids: Columns, codes: Tensor) -> None:
    factors = corner / corner.diagonal()
    targets = values + carried / corner.diagonal()
    scales, zeros = grids.scales.float(), grids.zeros.float()
    for place, group in enumerate(grids.groups.tolist()):
        scale, zero = scales[:, group], zeros[:, group]
        value = targets[:, place] + values[:, :place] @ factors[:place, place]
        code = ((value / scale).round() + zero).clamp(0, grids.top)
        codes[:, place] = code
        values[:, place] -= scale * (code - zero)
