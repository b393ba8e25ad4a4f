"""Divergences against scipy's, standard errors against the bootstrap over questions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, rel_entr, softmax

from workbench.errors import EvaluationError
from workbench.evals.divergence import compare_rows, kl_nats, mean_over_questions, summarize

VOCABULARY = 40
logits = arrays(np.float32, (3, 12), elements=st.floats(-40, 40, width=32))
shifts = arrays(np.float32, (3, 1), elements=st.floats(-20, 20, width=32))


def rows(seed: int, count: int = 7) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Reference, artifact and tokens."""
    draw = np.random.default_rng(seed)
    expected = draw.normal(0, 3, (count, VOCABULARY))
    found = expected + draw.normal(0, 0.3, expected.shape)
    return expected.astype(np.float32), found.astype(np.float32), draw.integers(0, VOCABULARY, count).tolist()


def test_the_figures_are_those_of_scipy():
    expected, found, tokens = rows(1)
    figures = compare_rows(expected, found, tokens)
    p, q = (softmax(values.astype(np.float64), axis=-1) for values in (expected, found))
    np.testing.assert_allclose(figures.kl_nats, rel_entr(p, q).sum(axis=-1), rtol=1e-9)
    places = range(len(tokens)), tokens
    np.testing.assert_allclose(figures.surprise, -log_softmax(found.astype(np.float64), axis=-1)[places])
    np.testing.assert_allclose(figures.reference_surprise, -np.log(p)[places])
    np.testing.assert_array_equal(figures.same_top, p.argmax(-1) == q.argmax(-1))
    assert kl_nats(expected[0], found[0]) == pytest.approx(figures.kl_nats[0], rel=1e-12)


@given(logits, logits, shifts)
@settings(max_examples=60, deadline=None)
def test_a_divergence_is_never_negative_and_no_constant_changes_it(expected, found, shift):
    plain = compare_rows(expected, found, [0, 1, 2])
    moved = compare_rows(expected - shift, found + shift, [0, 1, 2])
    assert (plain.kl_nats >= 0).all()
    np.testing.assert_allclose(moved.kl_nats, plain.kl_nats, rtol=1e-4, atol=1e-3)  # float32 loses digits in the shift
    assert compare_rows(expected, expected, [0, 1, 2]).kl_nats.max() == 0
    assert compare_rows(expected, expected, [0, 1, 2]).same_top.all()


@given(st.integers(0, 1000), st.integers(1, VOCABULARY - 1))
@settings(max_examples=40, deadline=None)
def test_tokens_nothing_was_told_of_count_as_one(seed, count):
    expected, found, tokens = rows(seed)
    found = log_softmax(found.astype(np.float64), axis=-1).astype(np.float32)
    untold = np.argsort(-found, axis=-1)[:, count:]
    partly = found.copy()
    np.put_along_axis(partly, untold, -np.inf, axis=-1)
    whole, part = compare_rows(expected, found, tokens), compare_rows(expected, partly, tokens)
    p, q = (softmax(values.astype(np.float64), axis=-1) for values in (expected, found))
    for row in range(len(tokens)):
        told = np.isfinite(partly[row])
        joined = [np.append(values[row][told], values[row][~told].sum()) for values in (p, q)]
        assert part.kl_nats[row] == pytest.approx(rel_entr(*joined).sum(), abs=1e-6)
        assert part.kl_nats[row] <= whole.kl_nats[row] + 1e-6  # the log-sum inequality
        assert part.surprise[row] <= whole.surprise[row] + 1e-6
        if told[tokens[row]]:
            assert part.surprise[row] == pytest.approx(whole.surprise[row], abs=1e-5)
    np.testing.assert_array_equal(part.same_top, whole.same_top)


def test_what_the_reference_holds_impossible_costs_nothing_and_what_the_artifact_does_much():
    expected = np.array([[0.0, 0.0, -np.inf]])
    assert compare_rows(expected, np.array([[0.0, 0.0, -30.0]]), [0]).kl_nats[0] == pytest.approx(0, abs=1e-12)
    # A told token of -inf in a whole row: the artifact gives the half of the reference's cases no chance at all.
    hopeless = compare_rows(np.array([[0.0, 0.0]]), np.array([[0.0, -np.inf]]), [1])
    assert hopeless.kl_nats[0] > 7
    assert hopeless.surprise[0] > 15


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value):
    expected, found, tokens = rows(2)
    found[3, 5] = value
    with pytest.raises(EvaluationError, match="no numbers"):
        compare_rows(expected, found, tokens)


def test_a_row_longer_than_the_references_is_cut():
    expected, found, tokens = rows(3)
    longer = np.concatenate([found, np.full((len(found), 5), 50.0, np.float32)], axis=1)
    np.testing.assert_array_equal(
        compare_rows(expected, longer, tokens).kl_nats, compare_rows(expected, found, tokens).kl_nats
    )


def test_equally_probable_tops_in_a_rounded_reference_are_both_its_top():
    expected = np.array([[1.0, 1.0, 0.0]], np.float16)
    for found in ([2.0, 1.0, 0.0], [1.0, 2.0, 0.0]):
        assert compare_rows(expected, np.array([found]), [0]).same_top[0]
    assert not compare_rows(expected, np.array([[1.0, 1.0, 2.0]]), [0]).same_top[0]


def correlated(questions: int, seed: int = 5) -> list[np.ndarray]:
    """Tokens that resemble the others of their question, more of them in some questions than in others."""
    draw = np.random.default_rng(seed)
    return [draw.gamma(1, 0.1) + draw.exponential(0.02, draw.integers(5, 60)) for _ in range(questions)]


def test_the_standard_error_is_that_of_drawing_questions_anew():
    values = correlated(200)
    mean = mean_over_questions(values)
    assert mean.value == pytest.approx(np.concatenate(values).mean())
    draw = np.random.default_rng(6)
    drawn = [np.concatenate([values[i] for i in draw.integers(0, 200, 200)]).mean() for _ in range(4000)]
    assert mean.se == pytest.approx(np.std(drawn), rel=0.06)
    every = np.concatenate(values)
    assert mean.se > 3 * every.std(ddof=1) / math.sqrt(len(every))  # what counting tokens as independent would give


def test_the_standard_error_covers_as_often_as_it_says():
    # The mean of a token: long and short questions resemble their tokens alike, so it is the gamma's plus the noise's.
    truth, covered, runs = 0.12, 0, 400
    for seed in range(runs):
        mean = mean_over_questions(correlated(60, seed))
        covered += abs(mean.value - truth) < 1.96 * mean.se
    assert 0.90 < covered / runs < 0.98


def test_how_sets_differ_is_no_chance():
    easy, hard = correlated(100), [one + 1 for one in correlated(50, 9)]
    values, sets = [*easy, *hard], ["easy"] * 100 + ["hard"] * 50
    mean = mean_over_questions(values, sets)
    assert mean.value == mean_over_questions(values).value
    draw = np.random.default_rng(6)
    drawn = [
        np.concatenate([part[i] for part in (easy, hard) for i in draw.integers(0, len(part), len(part))]).mean()
        for _ in range(4000)
    ]
    assert mean.se == pytest.approx(np.std(drawn), rel=0.06)
    assert mean_over_questions(values).se > 1.5 * mean.se
    assert mean_over_questions(values, ["easy"] * 149 + ["hard"]).se == mean_over_questions(values).se
    assert mean_over_questions(easy, ["easy"] * 100) == mean_over_questions(easy)


def test_equal_questions_have_the_textbook_standard_error():
    draw = np.random.default_rng(8)
    values = draw.normal(size=(30, 4))
    means = values.mean(axis=1)
    assert mean_over_questions(list(values)).se == pytest.approx(means.std(ddof=1) / math.sqrt(30))
    assert mean_over_questions(list(values[:1])).se is None


def test_a_summary():
    questions = [compare_rows(*rows(seed, count)) for seed, count in ((1, 4), (2, 9), (3, 6))]
    figures = summarize(questions)
    kl = np.concatenate([one.kl_nats for one in questions])
    assert (figures.questions, figures.tokens) == (3, 19)
    assert figures.kl_nats.value == pytest.approx(kl.mean())
    assert figures.kl_nats_max == kl.max()
    assert figures.kl_nats_p99 == pytest.approx(np.quantile(kl, 0.99))
    assert figures.perplexity == pytest.approx(math.exp(np.concatenate([one.surprise for one in questions]).mean()))
    ratio = math.log(figures.perplexity / figures.reference_perplexity)
    assert figures.log_perplexity_ratio.value == pytest.approx(ratio)
    assert figures.same_top.value == np.concatenate([one.same_top for one in questions]).mean()
    assert summarize(questions, surprise=False).kl_nats == figures.kl_nats
    assert summarize(questions, surprise=False).perplexity is None
    with pytest.raises(EvaluationError, match="no text"):
        summarize([])
