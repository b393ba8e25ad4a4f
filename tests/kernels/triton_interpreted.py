"""Triton's kernel in its interpreter beside the loop in torch; run in a process of its own with TRITON_INTERPRET=1.

Odd numbers of rows and columns, several groups in a block, views into larger matrices; then a whole layer.
"""

import torch

from workbench.kernels import gptq_cuda, gptq_cuda_columns
from workbench.kernels._gptq_triton import round_columns
from workbench.kernels.gptq_cuda_columns import Columns
from workbench.kernels.gptq_cuda_factor import add_inputs_on_device
from workbench.kernels.gptq_settings import GptqSettings

generator = torch.Generator().manual_seed(1)


def block(rows: int, width: int, group: int, bits: int) -> None:
    top = 2**bits - 1
    weight, carried = (torch.randn(rows, 200, generator=generator) for _ in range(2))
    upper = torch.randn(200, 200, generator=generator) * 0.2 + torch.eye(200) * 3
    groups = (torch.arange(width) // group).int()
    scales = (torch.rand(rows, int(groups[-1]) + 1, generator=generator) * 0.4 / top + 1.6 / top).half()
    zeros = torch.randint(1, top + 1, scales.shape, generator=generator).to(torch.uint8)
    span = slice(30, 30 + width)
    found = []
    for how in (gptq_cuda_columns._round_columns, round_columns):
        values, codes = weight.clone(), torch.full((rows, 200), 255, dtype=torch.uint8)
        how(values[:, span], carried[:, span], upper[span, span], Columns(scales, zeros, groups, top), codes[:, span])
        found.append((values, codes))
    (values, codes), (same_values, same_codes) = found
    assert (codes == same_codes).float().mean() > 0.999, (rows, width)
    assert torch.isclose(values, same_values, atol=1e-5).float().mean() > 0.999, (rows, width)
    assert (same_codes[:, :30] == 255).all(), "written beside the block"
    assert len(codes[:, span].unique()) > top / 2, "too few codes to tell anything"


def layer(settings: GptqSettings) -> None:
    weight = torch.randn(20, 192, generator=generator)
    inputs = torch.randn(900, 192, generator=generator) @ torch.randn(192, 192, generator=generator)
    results = []
    for how in (gptq_cuda_columns._round_columns, round_columns):
        gptq_cuda.round_columns_on_device = how
        hessian = torch.zeros(192, 192)
        add_inputs_on_device(hessian, inputs)
        results.append(gptq_cuda.quantize_on_device(weight, hessian, settings))
    assert (results[0].codes == results[1].codes).mean() > 0.999


for shape in ((17, 128, 32, 4), (3, 72, 128, 3), (16, 64, 64, 8), (18, 33, 16, 2)):
    block(*shape)
layer(GptqSettings(4, 64, symmetric=False, static_groups=False, scales="range"))
layer(GptqSettings(3, 32))
