"""Answering many questions: our batches against transformers' own ``generate``, one question at a time."""

import pytest

from workbench.nano import MODEL_DIR
from workbench.runtimes.base import Decoding

MOST_TOKENS = 120
BEAMS = pytest.mark.parametrize("beams", [1, 4])


@BEAMS
def test_batched(benchmark, session, prompts, beams):
    benchmark.group = f"answer 48 questions, beams: {beams}"
    decoding = Decoding(("```",), MOST_TOKENS, beams)
    answers = benchmark.pedantic(session.generate, (prompts, decoding), rounds=3, warmup_rounds=1)
    assert len(answers) == len(prompts)


@BEAMS
def test_one_at_a_time(benchmark, prompts, beams):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    benchmark.group = f"answer 48 questions, beams: {beams}"
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32).eval()
    how = {"do_sample": False, "num_beams": beams, "max_new_tokens": MOST_TOKENS, "stop_strings": ["```"]}

    def answer_all():
        for prompt in prompts:
            model.generate(**tokenizer(prompt, return_tensors="pt"), **how, tokenizer=tokenizer)

    benchmark.pedantic(answer_all, rounds=3 if beams == 1 else 1)  # seconds each
