"""The draw of tensors and what it proves: against counting all draws, and against SciPy's distribution."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.rederive_draw import chance_found, draw, least_found, new_seed, statement

hypergeom = pytest.importorskip("scipy.stats").hypergeom


@pytest.mark.parametrize(("units", "drawn", "altered"), [(7, 3, 2), (6, 6, 1), (8, 1, 3), (5, 2, 0)])
def test_chance_is_the_share_of_all_draws_that_hold_an_altered_one(units, drawn, altered):
    draws = list(combinations(range(units), drawn))
    found = sum(any(unit < altered for unit in one) for one in draws)
    assert chance_found(units, drawn, altered) == pytest.approx(found / len(draws))


@settings(deadline=None)
@given(st.data())
def test_chance_is_the_hypergeometric_distribution(data):
    units = data.draw(st.integers(1, 2000))
    drawn, altered = data.draw(st.integers(0, units)), data.draw(st.integers(0, units))
    assert chance_found(units, drawn, altered) == pytest.approx(hypergeom.sf(0, units, altered, drawn), abs=1e-9)


def test_59_tensors_find_one_in_twenty_of_however_many():
    assert all(chance_found(units, 59, -(-units // 20)) >= 0.95 for units in range(59, 5000, 7))
    assert chance_found(1_000_000, 58, 50_000) < 0.95  # one fewer does not


@given(st.integers(1, 400), st.data())
def test_fewest_found_is_the_edge(units, data):
    drawn = data.draw(st.integers(1, units))
    fewest = least_found(units, drawn)
    assert chance_found(units, drawn, fewest) >= 0.95
    assert fewest == 1 or chance_found(units, drawn, fewest - 1) < 0.95


@given(st.lists(st.text(), unique=True, max_size=60), st.integers(1, 70), st.integers(0, 2**64 - 1))
def test_draws_as_many_as_asked_and_the_same_again(names, count, seed):
    drawn = draw(names, count, seed)
    assert len(drawn) == min(count, len(names))
    assert drawn == [name for name in names if name in set(drawn)]
    assert draw(names[::-1], count, seed) == drawn[::-1]  # the order in which names come has no say


def test_an_alteration_is_drawn_as_often_as_is_said():
    names, altered, drawn, rounds = [f"tensor.{i}" for i in range(40)], {"tensor.3", "tensor.17"}, 12, 4000
    found = sum(bool(altered & set(draw(names, drawn, seed))) for seed in range(rounds))
    chance = chance_found(40, drawn, 2)
    assert found / rounds == pytest.approx(chance, abs=4 * (chance * (1 - chance) / rounds) ** 0.5)


def test_seeds_are_not_the_same():
    assert new_seed() != new_seed()


def test_statement_never_promises_more_than_there_is():
    assert statement(10, 10) == "all were made again, so none was altered"
    assert "99.9%" in statement(1000, 130)  # 99.91...: not rounded up to certainty
    assert "100.0%" not in statement(2000, 600)
    with pytest.raises(ValueError, match="6 drawn"):
        chance_found(5, 6, 1)
