"""Answering many questions: our batches beside transformers' own ``generate``, one question at a time.

    python -m pytest benchmarks/test_generation.py              # some of the bundled questions
    python -m pytest benchmarks/test_generation.py -m slow      # all of them, and some by four beams: minutes

What limits it: each token reads every weight once, so decoding cannot beat bytes over bandwidth times the batch; for a
model of 20 MB in float32, which fits a processor's cache, that limit is far away and the interpreter's own time per
layer is what is felt. A batch shares both among its questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.pairs import SIDES, Pair, in_turn, replayed, seconds_of, show
from benchmarks.peers import started
from workbench.runtimes.base import Decoding, Generation

MOST_TOKENS = 120
STOP = "```"
# Beams, and of how many questions each one is asked; one at a time four beams take ten times as long as none.
ASKED = [(1, 18), pytest.param((1, 1), marks=pytest.mark.slow), pytest.param((4, 36), marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=ASKED, ids=str)
def pair(request: pytest.FixtureRequest, session: Any, fp16: Any, prompts: list[str], rounds: int) -> Iterator[Pair]:
    beams, step = request.param
    asked = prompts[::step]
    answers: list[Generation] = []

    def ours() -> None:
        answers[:] = session.generate(asked, Decoding((STOP,), MOST_TOKENS, beams))

    setting = {"model": fp16.path, "prompts": asked, "beams": beams, "most_tokens": MOST_TOKENS, "stop": STOP}
    with started("transformers_generate", **setting) as peer:
        ours_s, peer_s = in_turn(seconds_of(ours), peer.round, rounds)
        name, theirs = peer.name, peer.facts["answers"]
    same = sum(one.text.split(STOP)[0] == other for one, other in zip(answers, theirs, strict=True))
    assert same >= 0.95 * len(asked)  # sums in another order may turn a token where two are nearly as likely
    yield Pair(name, ours_s, peer_s, {"questions": len(asked), "beams": beams, "same_answers": same})


@pytest.mark.benchmark(timer=replayed)
@pytest.mark.parametrize("side", SIDES)
def test_answers(benchmark: Any, pair: Pair, side: str) -> None:
    benchmark.group = f"answer {pair.info['questions']} questions, beams: {pair.info['beams']}"
    show(benchmark, pair, side)
