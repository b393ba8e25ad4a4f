from hypothesis import given
from hypothesis import strategies as st

from workbench.pareto import pareto_front

NUMBERS = st.integers(-5, 5).map(float)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12)


def beats(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def test_a_larger_and_worse_point_is_off_the_front():
    assert pareto_front([(4.0, 0.93), (2.0, 0.91), (3.0, 0.90)]) == [1, 0]


def test_equal_points_stand_on_the_front_together():
    assert sorted(pareto_front([(1.0, 0.5), (1.0, 0.5), (1.0, 0.4)])) == [0, 1]
    assert pareto_front([]) == []


@given(POINTS)
def test_the_front_is_what_nothing_beats_from_the_lowest_cost_up(points):
    front = pareto_front(points)
    by_definition = {at for at, one in enumerate(points) if not any(beats(other, one) for other in points)}
    assert set(front) == by_definition
    assert len(front) == len(by_definition)
    assert [points[at][0] for at in front] == sorted(points[at][0] for at in front)
