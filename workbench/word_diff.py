"""Two texts side by side, what differs marked word by word.

The words of both are aligned (difflib's longest matching blocks); white space is shown but not compared, for SQL broken
into other lines is the same SQL. A segment is a piece of text with whether the other side lacks it; the segments of a
side joined are its text again.

    word_diff("SELECT name FROM t", "SELECT id FROM t")
    # [("SELECT ", False), ("name ", True), ("FROM t", False)], [("SELECT ", False), ("id ", True), ("FROM t", False)]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

Segments: TypeAlias = list[tuple[str, bool]]
MOST_WORDS = 1500  # aligning takes time with the square of the words; no sane query has as many
_WORD = re.compile(r"\s*(?:\w+|[^\w\s])\s*|\s+")


def word_diff(before: str, after: str) -> tuple[Segments, Segments]:
    """The segments of both texts. Texts of more than ``MOST_WORDS`` are not aligned: all of both is marked."""
    left, right = _WORD.findall(before), _WORD.findall(after)
    if max(len(left), len(right)) > MOST_WORDS:
        return [(before, True)], [(after, True)]
    matcher = SequenceMatcher(None, [word.strip() for word in left], [word.strip() for word in right], autojunk=False)
    first: Segments = []
    second: Segments = []
    for kind, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        _add(first, left[left_from:left_to], kind != "equal")
        _add(second, right[right_from:right_to], kind != "equal")
    return first, second


def _add(segments: Segments, words: Sequence[str], changed: bool) -> None:
    if words:
        segments.append(("".join(words), changed))
