"""Timing llama.cpp by its own clock, one prompt or several in parallel slots.

Its server tells of each answer how long reading the prompt took, the first token with it (``prompt_ms``), and how long
all later tokens took (``predicted_ms``). For one prompt these are the figures: what is left of a call, about a
millisecond of JSON and hand-over, is no work of the model. ``Timing.call_s`` keeps the whole call by our clock beside
them, so that the two can be compared.

Prompts in parallel slots do not begin at the same moment, so for them the clock is ours, from the first request to the
last answer; a slot's first token came ``predicted_ms`` before its answer.

Source: github.com/ggml-org/llama.cpp, tools/server/README.md, "timings".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workbench.runtimes._llama_server import GREEDY, complete, post
from workbench.runtimes.base import Timing

_COLD = {"ignore_eos": True, "cache_prompt": False}


def time_slot(server: Any, prompt: str, new_tokens: int) -> Timing:
    """One prompt; ``Timing.new_tokens`` is what was written, fewer than asked for where the context ended."""
    started = time.perf_counter()
    reply = complete(server, {"prompt": prompt, "max_tokens": new_tokens, **_COLD, **GREEDY})
    call_s = time.perf_counter() - started
    usage, told = reply["usage"], reply["timings"]
    first_s = told["prompt_ms"] / 1000
    total_s = first_s + told["predicted_ms"] / 1000
    return Timing(usage["prompt_tokens"], usage["completion_tokens"], first_s, total_s, call_s=call_s)


def time_slots(server: Any, prompts: Sequence[str], new_tokens: int) -> Timing:
    """Several prompts at the same time, each in a slot of its own."""

    def answer(prompt: str) -> tuple[dict[str, Any], float]:
        reply = post(server, "/completion", {"prompt": prompt, "n_predict": new_tokens, **_COLD, **GREEDY})
        return reply, time.perf_counter()

    with ThreadPoolExecutor(len(prompts)) as pool:
        started = time.perf_counter()
        answers = list(pool.map(answer, prompts))
    firsts = [ended - reply["timings"]["predicted_ms"] / 1000 for reply, ended in answers]
    total_s = max(ended for _, ended in answers) - started
    read = max(reply["tokens_evaluated"] for reply, _ in answers)
    written = min(reply["tokens_predicted"] for reply, _ in answers)
    return Timing(read, written, max(firsts) - started, total_s, len(prompts), call_s=total_s)
