"""torchao's int8 weight-only through transformers: load, quantize, ``save_pretrained``."""

from importlib.metadata import version

from _serve import Work, serve


def prepare(source: str) -> tuple[str, Work]:
    import torch
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TorchAoConfig

    def work(out: str) -> None:
        config = TorchAoConfig(Int8WeightOnlyConfig(version=2))
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float16, quantization_config=config)
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(source).save_pretrained(out)

    return f"torchao {version('torchao')} through transformers {version('transformers')}", work


serve(prepare)
