"""The statistics on made-up series: how often equal things are told apart, and how often different ones are."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.noise import (
    FAMILY_ERROR,
    aa_difference,
    compare_paired,
    compare_runs,
    holm,
    noise_floor,
    series,
    t_quantile,
    t_two_sided,
)

TABLE = 14  # comparisons in the table of a default run


@given(st.integers(1, 60), st.floats(0.01, 30))
def test_students_t_is_scipys(freedom, t):
    assert t_two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 5, 12, 31])
@pytest.mark.parametrize("share", [0.75, 0.975, 0.9995])
def test_its_quantile_is_scipys(freedom, share):
    assert t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-4)


def table(rng, processes, gap=0.0, paired=False, noise=0.02, tail=0.0):
    """A table of comparisons of noise with noise; the first has a true difference."""

    def run(shift=0.0):
        return [rng.gauss(0, noise) + shift + (rng.random() < tail) * rng.random() * 0.3 for _ in range(processes)]

    compared = compare_paired if paired else compare_runs
    return holm([compared(run(gap if place == 0 else 0.0), run()) for place in range(TABLE)])


@pytest.mark.parametrize("tail", [0.0, 0.1], ids=["even noise", "one process in ten is slow"])
@pytest.mark.parametrize("paired", [False, True], ids=["two runs", "one run"])
@pytest.mark.parametrize("processes", [3, 7])
def test_equal_things_are_hardly_ever_called_different(processes, paired, tail):
    rng = random.Random(7)
    tables = 500
    wrong = sum(any(one.called for one in table(rng, processes, 0.0, paired, tail=tail)) for _ in range(tables))
    # As many as are allowed, and three standard deviations of how this count itself varies.
    assert wrong <= tables * FAMILY_ERROR + 3 * math.sqrt(tables * FAMILY_ERROR)


@pytest.mark.parametrize("paired", [False, True], ids=["two runs", "one run"])
def test_a_tenth_is_seen(paired):
    rng = random.Random(8)
    seen = sum(table(rng, 7, math.log(1.1), paired, noise=0.015)[0].called for _ in range(200))
    assert seen > 180


def test_what_slows_both_down_cancels_in_one_run():
    rng = random.Random(9)
    weather = [rng.gauss(0, 0.2) for _ in range(7)]
    first = [shift + rng.gauss(0, 0.005) + math.log(1.1) for shift in weather]
    second = [shift + rng.gauss(0, 0.005) for shift in weather]
    paired = compare_paired(first, second)
    assert paired.p < 1e-4
    assert paired.ratio == pytest.approx(1.1, rel=0.02)
    assert compare_runs(first, second).p > 0.05


def test_a_machine_that_moved_between_runs_is_allowed_for():
    now, before = [0.10, 0.101, 0.099, 0.1], [0.0, 0.001, -0.001, 0.0]
    assert holm([compare_runs(now, before)])[0].called
    assert not holm([compare_runs(now, before, allowance=0.1)])[0].called


def test_a_percent_is_no_difference_however_surely_it_is_there():
    now, before = [0.01, 0.01001, 0.00999] * 3, [0.0, 0.00001, -0.00001] * 3
    (one,) = holm([compare_paired(now, before)])
    assert one.p < 1e-6
    assert not one.called


def test_two_runs_have_to_differ_by_more_than_two_artifacts_of_one():
    now, before = [0.03, 0.03001, 0.02999] * 3, [0.0, 0.00001, -0.00001] * 3
    assert holm([compare_paired(now, before)])[0].called
    assert not holm([compare_runs(now, before)])[0].called


def test_exactly_equal_series_are_no_difference():
    (one,) = holm([compare_runs([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])])
    assert (one.ratio, one.p, one.called) == (1.0, 1.0, False)


def test_one_process_tells_nothing():
    assert not holm([compare_runs([1.0], [0.0])])[0].called
    assert not holm([compare_paired([1.0], [0.0])])[0].called
    assert noise_floor([1.0]) is None
    assert aa_difference([1.0]) is None


def test_the_floor_covers_nineteen_pairs_of_twenty():
    rng = random.Random(10)
    inside = 0
    for _ in range(2000):
        one, other = ([rng.gauss(0, 0.03) for _ in range(5)] for _ in range(2))
        inside += abs(sum(one) / 5 - sum(other) / 5) <= math.log1p(noise_floor(one))
    assert 0.93 < inside / 2000 < 0.97


def test_a_series_is_the_median_of_each_process():
    assert series([[1.0, 2.0, 30.0], [4.0]]) == [math.log(2), math.log(4)]
    assert aa_difference([0.0, math.log(1.1), 0.0, math.log(1.1)]) == pytest.approx(0.1)


@given(st.lists(st.lists(st.floats(0.001, 10), min_size=2, max_size=6), min_size=4, max_size=4))
def test_the_order_of_comparisons_does_not_matter(runs):
    differences = [compare_runs(runs[0], runs[1]), compare_runs(runs[2], runs[3])]
    assert holm(differences) == holm(differences[::-1])[::-1]


@given(st.lists(st.lists(st.floats(-1, 1), min_size=6, max_size=6), min_size=2, max_size=8))
def test_no_difference_is_called_whose_interval_holds_one(logs):
    pairs = list(itertools.pairwise(logs))
    for one in holm([compare_paired(*pair) for pair in pairs] + [compare_runs(*pair, 0.02) for pair in pairs]):
        low, high = one.interval
        assert not (one.called and low <= 1 <= high)
