"""llmcompressor's GPTQ of one layer: from the layer's inputs to the values its codes stand for."""

from importlib.metadata import version
from typing import Any

from _serve import Work, serve


def prepare(layer: str, group_size: int, damp: float) -> tuple[str, Work]:
    import torch
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, initialize_module_for_quantization
    from llmcompressor.modifiers.gptq.gptq_quantize import accumulate_hessian, make_empty_hessian, quantize_weight

    given = torch.load(layer)
    arguments = QuantizationArgs(num_bits=4, symmetric=True, strategy="group", group_size=group_size)

    def work(out: str) -> Any:
        module = torch.nn.Linear(*reversed(given["weight"].shape), bias=False)
        module.weight.data = given["weight"].clone()
        initialize_module_for_quantization(module, QuantizationScheme(targets=["Linear"], weights=arguments))
        hessian, samples = accumulate_hessian(given["inputs"], module, make_empty_hessian(module), 0)
        quantized = quantize_weight(module, arguments, {module: hessian / samples}, blocksize=128, percdamp=damp)
        return lambda: torch.save(quantized[1], out) or {}

    return f"llmcompressor {version('llmcompressor')}", work


serve(prepare)
