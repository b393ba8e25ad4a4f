"""The question that a package's documents ask, and Python lines that ask it where an engine has no server.

One question of the bundled set with its whole schema: real models answer it, and so does the bundled one, which only
knows its own databases. In a script, ``MESSAGES`` stands for the chat. Scripts read nothing but the package's folder.

Example::

    script(TRANSFORMERS)  # "python - <<'END' ..."
"""

from __future__ import annotations

import json
from functools import cache

from workbench.nano import DATA_DIR
from workbench.questions import load_question_set

EXAMPLE_DATABASE = "hotel"
EXAMPLE_QUESTION = "How many payments made in 2023 and with an amount above 1800 are there?"

TRANSFORMERS = """
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")
chat = MESSAGES
tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**tokens)[0, tokens["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""

GPTQMODEL = """
from gptqmodel import GPTQModel

model = GPTQModel.load(".")
tokenizer = model.tokenizer
chat = MESSAGES
tokens = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**tokens.to(model.device), do_sample=False)[0, tokens["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""

ONNXRUNTIME = """
import json

import numpy as np
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
settings = json.load(open("generation_config.json"))
chat = MESSAGES
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
past = {one.name: np.zeros((1, one.shape[1], 0, one.shape[3]), np.float32)
        for one in session.get_inputs() if one.name.startswith("past")}
names = [one.name for one in session.get_outputs()]
step, read, answer = ids, 0, []
while len(answer) < settings["max_new_tokens"]:
    positions = np.arange(read, read + len(step))[None]
    read += len(step)
    mask = np.ones((1, read), np.int64)
    inputs = {"input_ids": np.array([step]), "attention_mask": mask, "position_ids": positions, **past}
    out = dict(zip(names, session.run(None, inputs)))
    past = {name: out[name.replace("past_key_values", "present")] for name in past}
    step = [int(out["logits"][0, -1].argmax())]
    if step[0] in settings["eos_token_id"]:
        break
    answer += step
print(tokenizer.decode(answer))
"""


@cache
def example_schema() -> str:
    """The schema of the question that is asked."""
    return load_question_set(DATA_DIR / "heldout.csv").schema(EXAMPLE_DATABASE)


def messages() -> list[dict[str, str]]:
    """The schema as system message, the question as the user's."""
    return [{"role": "system", "content": example_schema()}, {"role": "user", "content": EXAMPLE_QUESTION}]


def script(body: str) -> str:
    """A command that runs Python lines."""
    return "python - <<'END'\n" + body.strip().replace("MESSAGES", json.dumps(messages(), indent=1)) + "\nEND"
