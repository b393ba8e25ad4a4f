"""transformers' own ``generate``, one question at a time, as its documentation shows it."""

from importlib.metadata import version
from typing import Any

from _serve import Work, serve


def prepare(model: str, prompts: list[str], beams: int, most_tokens: int, stop: str) -> tuple[str, Work]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    how = {"do_sample": False, "num_beams": beams, "max_new_tokens": most_tokens, "stop_strings": [stop]}

    def answer(prompt: str) -> str:
        asked = tokenizer(prompt, return_tensors="pt")
        ids = network.generate(**asked, **how, tokenizer=tokenizer)[0, asked["input_ids"].shape[1] :]
        return str(tokenizer.decode(ids, skip_special_tokens=True)).split(stop)[0]

    def work() -> Any:
        answers = [answer(prompt) for prompt in prompts]
        return lambda: {"answers": answers}

    return f"transformers {version('transformers')}, one at a time", work


serve(prepare)
