"""llmcompressor's GPTQ of one layer: from the layer's inputs to the values its codes stand for.

Its own functions in the order of its ``GPTQModifier``, scales by the range of each group of the original weights.
"""

from importlib.metadata import version
from typing import Any

from _serve import Work, serve


def prepare(layer: str, group_size: int, damp: float) -> tuple[str, Work]:
    import torch
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.utils import calculate_qparams
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
    from llmcompressor.modifiers.gptq.helpers import accumulate_hessian, make_empty_hessian

    given = torch.load(layer)
    weight = given["weight"]
    module = torch.nn.Linear(*reversed(weight.shape), bias=False)
    module.weight.data = weight
    arguments = QuantizationArgs(num_bits=4, symmetric=True, strategy="group", group_size=group_size)

    def work(out: str) -> Any:
        hessian, samples = accumulate_hessian(
            given["inputs"], module, make_empty_hessian(module), torch.zeros((), dtype=torch.int64)
        )
        groups = weight.reshape(len(weight), -1, group_size)
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), arguments)
        values = [tensor[None] for tensor in (weight.clone(), hessian / samples, scale, zero)]
        quantized = quantize_weight(*values, None, arguments, 128, damp)[0]
        return lambda: torch.save(quantized[0], out) or {}

    return f"llmcompressor {version('llmcompressor')}", torch.no_grad()(work)


serve(prepare)
