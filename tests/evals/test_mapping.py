"""Mappings are found where brute force finds one, and hard cases are found out or given up in bounded time."""

import random
import time
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.evals import mapping
from workbench.evals.cells import canonical
from workbench.evals.mapping import Columns, TooMuchWork, find_mapping


def same_bag(gold, candidate):
    return Counter(gold) == Counter(candidate)


def find(gold, candidate, **more):
    """For rows; both sides have as many."""
    columns = Columns(*(_columns(rows) for rows in (gold, candidate)))
    return find_mapping(columns, [0] * len(gold), [0] * len(candidate), same_bag, **more)


def _columns(rows):
    return [[canonical(row[at]) for row in rows] for at in range(len(rows[0]))]


def holds(gold, candidate, choices):
    return Counter(map(tuple, gold)) == Counter(tuple(row[choice] for choice in choices) for row in candidate)


SMALL = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda size: st.tuples(
        *(st.lists(st.tuples(*[st.integers(0, 1)] * width), min_size=size[2], max_size=size[2]) for width in size[:2])
    )
)


@given(SMALL)
@settings(max_examples=300)
def test_agrees_with_brute_force(tables):
    gold, candidate = tables
    wanted = any(holds(gold, candidate, some) for some in permutations(range(len(candidate[0])), len(gold[0])))
    found = find(gold, candidate)
    assert (found is not None) == wanted
    if found is not None:
        assert holds(gold, candidate, [found[column] for column in range(len(gold[0]))])


@given(st.integers(2, 8), st.integers(1, 30), st.integers(2, 4), st.randoms(use_true_random=False))
def test_finds_what_was_shuffled(width, count, values, rng):
    candidate = [[rng.randrange(values) for _ in range(width)] for _ in range(count)]
    chosen = rng.sample(range(width), rng.randint(1, width))
    gold = [[row[choice] for choice in chosen] for row in rng.sample(candidate, count)]
    assert find(gold, candidate) is not None


def test_one_mapping_may_be_asked_for():
    assert find([(1, 2)], [(2, 1)]) == {0: 1, 1: 0}
    assert find([(1, 2)], [(2, 1)], keep=True) is None


@pytest.mark.parametrize("rows", [100, 1000])
def test_thirty_columns_with_the_same_values_are_told_apart(rows):
    gold = [[(row * factor) % 7 for factor in range(1, 31)] for row in range(rows)]
    started = time.process_time()
    assert find(gold, [row[::-1] for row in gold]) is not None
    assert find(gold, [[*row[:-1], row[-1] ^ (at == 0)] for at, row in enumerate(gold)]) is None
    assert time.process_time() - started < 20


def test_every_mapping_of_a_cube_holds_but_for_one_column():
    cube = [[row >> bit & 1 for bit in range(9)] for row in range(512)]
    assert find([[*row, 1 - row[0]] for row in cube], [[*row, row[0]] for row in cube]) is None
    assert find([[*row, 1 - row[0]] for row in cube], [[1 - row[0], *row[::-1]] for row in cube]) is not None


def test_a_search_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(mapping, "MAX_WORK", 2000)
    rng = random.Random(0)
    gold = [[rng.randrange(2) for _ in range(12)] for _ in range(40)]
    with pytest.raises(TooMuchWork):
        find(gold, [row[::-1] for row in gold])
