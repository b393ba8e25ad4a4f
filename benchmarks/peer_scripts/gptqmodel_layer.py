"""gptqmodel's GPTQ of one layer: from the layer's inputs to the values its codes stand for."""

from importlib.metadata import version
from typing import Any

from _serve import Work, serve


def prepare(layer: str, group_size: int, damp: float) -> tuple[str, Work]:
    import torch
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    given = torch.load(layer)
    config = QuantizeConfig(
        bits=4, group_size=group_size, sym=True, desc_act=False, act_group_aware=False, damp_percent=damp
    )

    def work(out: str) -> Any:
        module = torch.nn.Linear(*reversed(given["weight"].shape), bias=False)
        module.weight.data = given["weight"].clone()
        task = GPTQ(module, config)
        task.quantizer.configure(perchannel=True)
        task.add_batch(given["inputs"], None)
        quantized = task.quantize()[0]
        return lambda: torch.save(quantized.float().contiguous(), out) or {}

    return f"gptqmodel {version('gptqmodel')}", work


serve(prepare)
