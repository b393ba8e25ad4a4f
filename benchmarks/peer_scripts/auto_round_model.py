"""auto-round's quantization of a whole model, at its defaults (200 iterations a block), into a GPTQ folder.

See ``fidelity_peers.py`` for what is given and wanted. It wants sequences of one length, so shorter ones are padded
on the right with the tokenizer's padding token, which it leaves out of its loss. It computes in bfloat16 where the
processor can; that is its default too.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _serve import Work, serve


def prepare(checkpoint: str, calibration: str, bits: int, group_size: int, symmetric: bool) -> tuple[str, Work]:
    import torch
    from auto_round import AutoRound
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    sequences = json.loads(Path(calibration).read_text())
    longest = max(map(len, sequences))
    rows = [torch.tensor([ids + [tokenizer.pad_token_id] * (longest - len(ids))]) for ids in sequences]

    def work(out: str) -> Any:
        scheme = {"bits": bits, "group_size": group_size, "sym": symmetric, "data_type": "int", "act_bits": 16}
        tuner = AutoRound(model, tokenizer, scheme=scheme, dataset=rows, nsamples=len(rows), seqlen=longest)
        tuner.quantize()
        settings = {"amp_dtype": str(getattr(tuner, "amp_dtype", None)), "iters": getattr(tuner, "iters", None)}

        def save() -> dict[str, Any]:
            tuner.save_quantized(out, format="auto_gptq")
            return settings

        return save

    return f"auto-round {version('auto-round')}", work


serve(prepare)
