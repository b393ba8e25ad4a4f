"""Answering many questions: our batches against transformers' own ``generate``, one question at a time."""

import pytest

from workbench.nano import MODEL_DIR
from workbench.runtimes.base import Decoding

MOST_TOKENS = 120


@pytest.mark.benchmark(group="answer 48 questions")
def test_batched(benchmark, session, prompts):
    answers = benchmark.pedantic(
        session.generate, (prompts, Decoding(("```",), MOST_TOKENS)), rounds=3, warmup_rounds=1
    )
    assert len(answers) == len(prompts)


@pytest.mark.benchmark(group="answer 48 questions")
def test_one_at_a_time(benchmark, prompts):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32).eval()

    def answer_all():
        for prompt in prompts:
            encoded = tokenizer(prompt, return_tensors="pt")
            model.generate(
                **encoded, do_sample=False, max_new_tokens=MOST_TOKENS, stop_strings=["```"], tokenizer=tokenizer
            )

    benchmark.pedantic(answer_all, rounds=3)
