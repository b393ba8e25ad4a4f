import math
import random

import pytest

from workbench.repeats import Repeats, median_interval, relative_half_width, timed
from workbench.runtimes.base import Timing


def caller(values):
    calls = iter(values)
    return lambda: Timing(10, 4, 0.1, next(calls))


def test_warm_ups_are_not_counted_and_a_steady_thing_stops_soon():
    timings = timed(caller([9.0, *[1.0] * 40]), Repeats(warmups=1, least=5, most=30))
    assert [one.total_s for one in timings] == [1.0] * 6  # the fewest that have an interval


def test_a_restless_thing_is_repeated_to_the_limit():
    rng = random.Random(1)
    timings = timed(caller([rng.uniform(0.5, 2) for _ in range(40)]), Repeats(most=12, half_width=0.001))
    assert len(timings) == 12


def test_no_repeat_begins_when_the_time_is_spent():
    assert len(timed(caller([1.0] * 9), Repeats(least=3, seconds=0.0))) == 3


def test_the_interval_holds_the_median_as_often_as_it_says():
    rng = random.Random(2)
    inside = 0
    for _ in range(2000):
        low, high = median_interval([rng.expovariate(1) for _ in range(15)])
        inside += low <= math.log(2) <= high
    assert inside / 2000 > 0.94


@pytest.mark.parametrize(("count", "places"), [(6, (0, 5)), (9, (1, 7)), (20, (5, 14))])
def test_the_ranks_are_those_of_the_tables(count, places):
    # Conover, Practical Nonparametric Statistics, table A3: ranks of the 95% interval of a median.
    assert median_interval([float(one) for one in range(count)]) == tuple(map(float, places))


def test_too_few_have_no_interval():
    assert relative_half_width([1.0] * 5) == math.inf
