"""The inner loop of GPTQ as one Triton kernel: a program takes some rows through all columns of a block.

A program keeps its tile of 16 rows and up to 128 columns in registers. A place of the tile holds w_j + c_j / U_jj while
column j is open, and the change E_j when it is done; coefficients are U_ij / U_jj, which is 1 at i = j and 0 behind it.
Then the value to round is one sum along the row,

    value_j = sum_i tile_i U_ij / U_jj

over 16 registers of a thread and the 8 threads of a row, and the chain from one column to the next is that sum, a
division and a rounding: no pass through memory. Coefficients come from the cache, one row of 512 bytes for each
column, and are known ahead. Float32 throughout; division is rounded as IEEE asks, or codes on the edge
between two would differ from the CPU's.

It runs on a CPU too, in Triton's interpreter: set TRITON_INTERPRET=1 before triton is imported, as the tests do. And it
compiles for a GPU that is not there: for compute capability 9.0 it takes 96 registers and spills none.

Source: the language of triton 3.7, the version that torch 2.13 asks for.

Example::

    round_columns(values, carried, corner, grids, codes)  # gptq_cuda_columns.py tells what these are
"""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, no-untyped-call, no-any-unimported"

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from workbench.kernels.gptq_cuda_columns import Columns

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 16  # of a program; 6,144 rows are 384 programs, some for each of 132 multiprocessors
HALF_UP = tl.constexpr(12582912.0)  # 1.5 * 2^23: adding and subtracting it rounds to the nearest integer, ties to even


@triton.jit
def _round_columns(  # noqa: PLR0913, PLR0917 - a kernel takes pointers, sizes and strides one by one
    values: tl.tensor, carried: tl.tensor, coefficients: tl.tensor, diagonal: tl.tensor,
    scales: tl.tensor, zeros: tl.tensor, groups: tl.tensor, codes: tl.tensor,
    rows: tl.tensor, width: tl.tensor, values_stride: tl.tensor, carried_stride: tl.tensor, grids_stride: tl.tensor,
    codes_stride: tl.tensor, top: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    here = row < rows
    inside = here[:, None] & (column < width)[None, :]
    value_places = values + row[:, None] * values_stride + column[None, :]
    tile = tl.load(value_places, mask=inside, other=0.0)
    before = tl.load(carried + row[:, None] * carried_stride + column[None, :], mask=inside, other=0.0)
    tile += tl.div_rn(before, tl.load(diagonal + column, mask=column < width, other=1.0)[None, :])
    found = tl.zeros([ROWS, WIDTH], dtype=tl.int32)
    for place in range(width):
        group = tl.load(groups + place)
        scale = tl.load(scales + row * grids_stride + group, mask=here, other=1.0).to(tl.float32)
        zero = tl.load(zeros + row * grids_stride + group, mask=here, other=1).to(tl.float32)
        weight = tl.load(values + row * values_stride + place, mask=here, other=0.0)
        factors = tl.load(coefficients + place * width + column, mask=column < width, other=0.0)
        steps = tl.div_rn(tl.sum(tile * factors[None, :], axis=1), scale)
        steps = tl.minimum(tl.maximum(steps, -512.0), 512.0)  # beyond any code; keeps the rounding's trick exact
        code = tl.minimum(tl.maximum(steps + HALF_UP - HALF_UP + zero, 0.0), top)
        change = weight - scale * (code - zero)
        now = (column == place)[None, :]
        tile = tl.where(now, change[:, None], tile)
        found = tl.where(now, code.to(tl.int32)[:, None], found)
    tl.store(value_places, tile, mask=inside)
    tl.store(codes + row[:, None] * codes_stride + column[None, :], found.to(tl.uint8), mask=inside)


def round_columns(values: Tensor, carried: Tensor, corner: Tensor, grids: Columns, codes: Tensor) -> None:
    """Round the columns of a block, first to last; see ``gptq_cuda_columns.round_columns_on_device``.

    Raises:
        ValueError: a row's numbers are not neighbours.
    """
    import torch

    scales, zeros = grids.scales, grids.zeros
    by_rows = all(part.stride(1) == 1 for part in (values, carried, codes, scales, zeros))
    if not by_rows or scales.stride() != zeros.stride():
        raise ValueError("the kernel reads rows of neighbouring numbers")
    rows, width = values.shape
    coefficients = (corner.triu() / corner.diagonal()).t().contiguous()
    with torch.cuda.device_of(values):  # Triton launches on the current card, which need not be the values'
        _round_columns[(triton.cdiv(rows, ROWS),)](
            values, carried, coefficients, corner.diagonal().contiguous(), scales, zeros, grids.groups, codes,
            rows, width, values.stride(0), carried.stride(0), scales.stride(0), codes.stride(0), float(grids.top),
            ROWS=ROWS, WIDTH=triton.next_power_of_2(width),
        )  # fmt: skip
