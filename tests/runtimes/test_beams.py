"""The search alone, on small tables of probabilities; whole answers are compared in ``test_runtime_contract.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from workbench.runtimes._beams import BeamSearch, most_probable

END, A, B, C = range(4)
# What follows what was written. The most probable first token leads nowhere good.
GARDEN = {
    (): {A: 0.6, B: 0.4},
    (A,): {A: 0.3, B: 0.25, C: 0.25, END: 0.2},
    (B,): {C: 0.9, END: 0.1},
    (B, C): {END: 0.95, A: 0.05},
}


def told(answers: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    rows = [GARDEN.get(tokens, {END: 0.7, A: 0.1, B: 0.1, C: 0.1}) for tokens in answers]
    return most_probable(np.log(np.array([[row.get(token, 1e-9) for token in range(4)] for row in rows])), 4)


def search(beams: int, limit: int = 9) -> BeamSearch:
    made = BeamSearch(beams, lambda tokens: tokens[-1] == END, limit, 1)
    made.run(told([()]), lambda *_: told([beam.tokens for beam in made.open]))
    return made


def test_two_beams_find_what_greedy_misses() -> None:
    assert search(1).best == [A, A, END]
    assert search(2).best == [B, C, END]


def test_the_limit_ends_an_answer() -> None:
    assert search(2, limit=2).best == [B, C]
    assert search(2, limit=1).best == [A]


def test_rows_go_on_from_where_their_answers_were() -> None:
    made = BeamSearch(2, lambda tokens: tokens[-1] == END, 9, 1)
    assert made.advance(*told([()])) == [0, 0]
    assert [beam.tokens for beam in made.open] == [(A,), (B,)]
    assert made.advance(*told([(A,), (B,)])) == [1, 0]
    assert [beam.tokens for beam in made.open] == [(B, C), (A, A)]
    assert made.open[0].score == pytest.approx(math.log(0.4 * 0.9))
    assert made.advance(*told([(B, C), (A, A)])) == []  # both best ended: no answer is open


def test_an_end_beyond_the_best_does_not_count() -> None:
    """Among twice as many continuations as beams, the worse half only keeps the search going."""
    made = BeamSearch(1, lambda tokens: tokens[-1] == END, 9, 1)
    assert made.advance(np.log([[0.6, 0.4]]), np.array([[A, END]])) == [0]
    assert [beam.tokens for beam in made.open] == [(A,)]
    assert made.advance(np.log([[0.9, 0.1]]), np.array([[END, A]])) == []
    assert made.best == [A, END]


def test_most_probable_tells_log_probabilities() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (3, 50)).astype(np.float32)
    logprobs, ids = most_probable(logits + 80, 6)  # a constant changes nothing
    expected = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    assert logprobs == pytest.approx(-np.sort(-expected)[:, :6], abs=1e-5)
    assert (ids == np.argsort(-expected)[:, :6]).all()
    assert most_probable(logits, 99)[1].shape == (3, 50)
