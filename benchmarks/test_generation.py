"""Answering many questions: our batches against transformers' own ``generate``, one question at a time."""

import pytest

from workbench.nano import MODEL_DIR
from workbench.runtimes.base import Decoding

MOST_TOKENS = 120
# Beams take ten times as long one question at a time, so fewer are asked: each ninth.
BEAMS = pytest.mark.parametrize(("beams", "step"), [(1, 1), (4, 9)])


@BEAMS
def test_batched(benchmark, session, prompts, beams, step):
    asked = prompts[::step]
    benchmark.group = f"answer {len(asked)} questions, beams: {beams}"
    decoding = Decoding(("```",), MOST_TOKENS, beams)
    answers = benchmark.pedantic(session.generate, (asked, decoding), rounds=3, warmup_rounds=1)
    assert len(answers) == len(asked)


@BEAMS
def test_one_at_a_time(benchmark, prompts, beams, step):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked = prompts[::step]
    benchmark.group = f"answer {len(asked)} questions, beams: {beams}"
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32).eval()
    how = {"do_sample": False, "num_beams": beams, "max_new_tokens": MOST_TOKENS, "stop_strings": ["```"]}

    def answer_all():
        for prompt in asked:
            model.generate(**tokenizer(prompt, return_tensors="pt"), **how, tokenizer=tokenizer)

    benchmark.pedantic(answer_all, rounds=1)  # a minute or so
