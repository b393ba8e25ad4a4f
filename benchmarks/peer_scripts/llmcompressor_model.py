"""llmcompressor's GPTQ of a whole model, at its defaults, as the weights its codes stand for.

See ``fidelity_peers.py`` for the contract. It stores scales in the model's dtype, float16 here, but computes in
float32: so each weight becomes the code it is nearest to, times the scale rounded to float16.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _serve import Work, serve


def stored(module: Any) -> Any:
    """``(out, in)``: what is left of a quantized layer's weight when its scales are rounded to float16."""
    columns = module.weight.shape[1]
    scale = module.weight_scale.detach().float().repeat_interleave(columns // module.weight_scale.shape[1], dim=1)
    zero = module.weight_zero_point.detach().float() if hasattr(module, "weight_zero_point") else 0.0 * scale[:, :1]
    zero = zero.repeat_interleave(columns // zero.shape[1], dim=1)
    codes = (module.weight.detach().float() / scale + zero).round()
    return ((codes - zero) * scale.half().float()).contiguous()


def prepare(checkpoint: str, calibration: str, bits: int, group_size: int, symmetric: bool) -> tuple[str, Work]:
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    sequences = json.loads(Path(calibration).read_text())
    rows = Dataset.from_list([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in sequences])
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": group_size}
    groups = {"all": {"targets": ["Linear"], "weights": weights}}
    modifier = GPTQModifier(config_groups=groups, ignore=["lm_head"])

    def work(out: str) -> Any:
        oneshot(
            model=model,
            processor=tokenizer,
            dataset=rows,
            recipe=modifier,
            num_calibration_samples=len(rows),
            max_seq_length=max(map(len, sequences)),
        )

        def save() -> dict[str, Any]:
            layers = {name: one for name, one in model.named_modules() if hasattr(one, "weight_scale")}
            tensors = {f"{name}.weight": stored(one) for name, one in layers.items()}
            Path(out).mkdir(parents=True)
            save_file(tensors, Path(out) / "weights.safetensors")
            return {name: str(getattr(modifier, name)) for name in ("dampening_frac", "block_size", "actorder")}

        return save

    return f"llmcompressor {version('llmcompressor')}", work


serve(prepare)
