"""Runs in an environment of gptqmodel's own: quantizes a model there, and tells what gptqmodel computes with it.

    python gptq_maker.py WORK.json

``WORK.json`` lists jobs: a checkpoint (``source``), the arguments of gptqmodel's ``QuantizeConfig`` (``config``), texts
as token ids (``texts``), the package's folder (``folder``), token ids to compute logits for (``ids``) and a file for
the result (``out``, npz). Nothing of the workbench is imported.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from gptq_reader import seen
from gptqmodel import GPTQModel, QuantizeConfig

for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["jobs"]:
    model = GPTQModel.load(job["source"], QuantizeConfig(**job["config"]), dtype=torch.float32, device="cpu")
    model.quantize([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in job["texts"]])
    model.save(job["folder"])
    np.savez(job["out"], **seen("gptqmodel", {**job, "backend": "torch", "prompts": []}))
