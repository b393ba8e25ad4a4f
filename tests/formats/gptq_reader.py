"""Runs in an environment of gptqmodel's own: opens GPTQ packages and tells what it sees in them.

    python gptq_reader.py gptqmodel|transformers WORK.json

``WORK.json`` lists packages (``folder``), the kernel to open them with (``backend``: ``torch``, or ``auto`` as users
get it), token ids to compute logits for (``ids``), prompts to go on from greedily (``prompts``, ``new_tokens``) and a
file for the result (``out``, npz), and lines of Python to run first (``guard``). Nothing of the workbench is imported.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch


def opened(how, folder, backend):
    if how == "gptqmodel":
        from gptqmodel import BACKEND, GPTQModel

        return GPTQModel.load(folder, device="cpu", backend=BACKEND(backend), dtype=torch.float16).model
    from transformers import AutoModelForCausalLM, GPTQConfig

    # Of a package's own config transformers lets the user change the backend only.
    kernel = {"quantization_config": GPTQConfig(bits=4, backend=backend)} if backend != "auto" else {}
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16, device_map="cpu", **kernel)


def seen(how, job):
    model = opened(how, job["folder"], job["backend"])
    found = {}
    with torch.inference_mode():
        found["logits"] = model(input_ids=torch.tensor(job["ids"])).logits.float().numpy()
        for place, prompt in enumerate(job["prompts"]):
            ids = torch.tensor([prompt])
            answer = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=job["new_tokens"],
                pad_token_id=0,
            )
            found[f"answer {place}"] = answer[0, len(prompt) :].numpy()
        for name, module in model.named_modules():
            if job["backend"] == "torch" and hasattr(module, "dequantize_weight"):
                found[f"weight {name}"] = module.dequantize_weight().t().numpy()
    return found


def main():
    how, file = sys.argv[1:]
    work = json.loads(Path(file).read_text(encoding="utf-8"))
    if how == "transformers":
        exec(work["guard"], {})  # what the README tells users to run
    for job in work["jobs"]:
        try:
            found = seen(how, job)
        except Exception as error:  # told to the test, which says which refusal it expects
            found = {"error": np.array(f"{type(error).__name__}: {error}")}
        np.savez(job["out"], **found)


if __name__ == "__main__":
    main()
