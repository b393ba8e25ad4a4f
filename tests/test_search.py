from hypothesis import given
from hypothesis import strategies as st

from workbench.search import largest


@given(st.integers(0, 5000), st.integers(0, 6000))
def test_the_border_is_found_in_few_questions(limit, border):
    asked = []
    assert largest(limit, lambda number: asked.append(number) or number <= border) == min(limit, border)
    assert len(asked) <= limit.bit_length()
