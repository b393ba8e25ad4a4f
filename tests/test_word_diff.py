from hypothesis import given
from hypothesis import strategies as st

from workbench.word_diff import MOST_WORDS, word_diff

SQL = st.lists(st.sampled_from(["SELECT", "name", "id", ",", "(", ")", " ", "\n", "FROM", "t", "'x'", "é", "<b>"])).map(
    "".join
)


def shown(segments):
    return "".join(f"[{text.strip()}]" if changed else text for text, changed in segments)


def test_what_differs_is_marked_word_by_word():
    before, own = word_diff("SELECT name FROM t WHERE a > 1", "SELECT id FROM t WHERE a >= 1")
    assert shown(before) == "SELECT [name]FROM t WHERE a > 1"
    assert shown(own) == "SELECT [id]FROM t WHERE a >[=]1"


def test_other_line_breaks_are_no_difference():
    before, own = word_diff("SELECT a\n  FROM t", "SELECT a FROM t")
    assert not any(changed for _, changed in (*before, *own))


def test_a_missing_side_is_all_marked():
    assert word_diff("", "SELECT 1") == ([], [("SELECT 1", True)])


def test_a_text_too_long_to_align_is_marked_whole():
    long = "x " * (MOST_WORDS + 1)
    assert word_diff(long, "x") == ([(long, True)], [("x", True)])


@given(SQL, SQL)
def test_the_segments_are_the_texts(before, after):
    left, right = word_diff(before, after)
    assert "".join(text for text, _ in left) == before
    assert "".join(text for text, _ in right) == after


@given(SQL)
def test_a_text_does_not_differ_from_itself(text):
    assert not any(changed for side in word_diff(text, text) for _, changed in side)
