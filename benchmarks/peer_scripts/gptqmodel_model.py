"""gptqmodel's GPTQ of a whole model, at its defaults, into a GPTQ folder; ``fidelity_peers.py`` has the contract."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _serve import Work, serve


def prepare(checkpoint: str, calibration: str, bits: int, group_size: int, symmetric: bool) -> tuple[str, Work]:
    import torch
    from gptqmodel import GPTQModel, QuantizeConfig

    config = QuantizeConfig(bits=bits, group_size=group_size, sym=symmetric)
    model = GPTQModel.load(checkpoint, config, dtype=torch.float32, device="cpu")
    sequences = json.loads(Path(calibration).read_text())
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in sequences]

    def work(out: str) -> Any:
        model.quantize(rows)
        settings = ("damp_percent", "act_group_aware", "desc_act", "static_groups", "mse", "true_sequential")

        def save() -> dict[str, Any]:
            model.save(out)
            return {name: getattr(config, name) for name in settings}

        return save

    return f"gptqmodel {version('gptqmodel')}", work


serve(prepare)
