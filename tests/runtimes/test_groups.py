"""Grouping of prompts: everyone once, prefixes really shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.runtimes._groups import common_prefix, make_groups

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@given(st.lists(TOKENS, min_size=1, max_size=20), st.integers(1, 6))
def test_everyone_is_in_one_group_and_shares_its_prefix(prompts, rows):
    groups = make_groups(prompts, lambda prefix, own: rows)
    assert sorted(member for group in groups for member in group.members) == list(range(len(prompts)))
    for group in groups:
        assert len(group.members) <= rows
        first = prompts[group.members[0]]
        for member in group.members:
            assert prompts[member][: group.prefix] == first[: group.prefix]
            assert len(prompts[member]) > group.prefix


def test_one_schema_makes_one_group():
    schema = list(range(50))
    prompts = [[*schema, 100 + n] for n in range(6)] + [[200 + n, 7] for n in range(3)]
    groups = make_groups(prompts, lambda prefix, own: 64)
    assert [(sorted(group.members), group.prefix) for group in groups] == [([0, 1, 2, 3, 4, 5], 50), ([6, 7, 8], 0)]


def test_common_prefix():
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2], [1, 2, 4]) == 2
    assert common_prefix([], [1]) == 0
