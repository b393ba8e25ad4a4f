"""Wilson intervals and percentiles against figures worked out elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.measure import Measurement, Score, percentile, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (113, 175, 57.2, 71.3),  # sqlcoder 15B, published as 64.6%
        (106, 175, 53.2, 67.5),  # gpt-3.5-turbo, published as 60.6%
        (0, 10, 0.0, 27.8),  # Agresti and Coull, The American Statistician 52 (1998): the normal interval is empty here
        (10, 10, 72.2, 100.0),
    ],
)
def test_wilson_golden_values(correct: int, total: int, low: float, high: float) -> None:
    interval = wilson_interval(correct, total)
    assert [round(100 * end, 1) for end in interval] == [low, high]


def test_nothing_asked_is_unknown() -> None:
    score = Score("sql_accuracy", 0, 0)
    assert math.isnan(score.value)
    assert score.interval == (0.0, 1.0)


def test_score_value_and_interval() -> None:
    score = Score("sql_accuracy", 113, 175)
    assert score.value == pytest.approx(0.6457, abs=1e-4)
    assert score.interval == wilson_interval(113, 175)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_holds_the_share_and_stays_a_probability(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1
    mirrored = wilson_interval(total - correct, total)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(2, 20))
def test_more_questions_make_a_narrower_interval(correct: int, times: int) -> None:
    low, high = wilson_interval(correct, 2 * correct)
    wide_low, wide_high = wilson_interval(times * correct, times * 2 * correct)
    assert wide_high - wide_low < high - low


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_percentile_is_numpys(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-6)


def test_a_measurement_says_where_it_is_from() -> None:
    predicted = Measurement("decode_tokens_per_s", 50.1, "tokens/s", "predicted", "memory roofline")
    assert predicted.samples == 0
    assert predicted.p95 is None
    with pytest.raises(TypeError):
        Measurement("decode_tokens_per_s", 50.1, "tokens/s")  # type: ignore[call-arg]  # no origin, no measurement
