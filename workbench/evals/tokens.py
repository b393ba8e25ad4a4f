r"""Where SQL text is code and where it is quoted: the one thing regexes over raw SQL get wrong.

A ``;``, a ``{``, a stop tag or a code fence means something only outside literals, quoted
identifiers and comments. ``mask`` blanks those three in place, so that an ordinary search in the
mask gives positions that hold in the text. The lexical rules are PostgreSQL's (manual, section 4.1):
doubled quotes, ``E'\''`` escapes (also where the literal goes on in a further line), ``$tag$`` quotes,
comments that nest. What is opened and never closed runs to the end; nothing raises, because model output may be
anything.

    >>> mask("SELECT ';' -- ;").find(";")
    -1
"""

from __future__ import annotations

import itertools
import re

QUOTED = "\x01"  # stands for every character of a literal or quoted identifier; comments become spaces

_OPENING = re.compile(
    r"""(?P<escape>(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*+'?(?:[ \t\f\v]*+[\n\r]\s*+'(?:[^'\\]|\\.|'')*+'?)*+)
    | (?P<string>'(?:[^']|'')*+'?)
    | (?P<dollar>(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$(?:.*?\$(?P=tag)\$|.*))
    | (?P<name>"(?:[^"]|"")*+"?)
    | (?P<line>--[^\n\r]*)
    | (?P<block>/\*)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def mask(text: str) -> str:
    """``text`` with literals and quoted names as ``QUOTED`` and comments as spaces; same length."""
    pieces = []
    position = 0
    while found := _OPENING.search(text, position):
        end = _end_of_comment(text, found.end()) if found["block"] else found.end()
        filler = " " if found["block"] or found["line"] else QUOTED
        pieces += [text[position : found.start()], filler * (end - found.start())]
        position = end
    return "".join([*pieces, text[position:]])


def _end_of_comment(text: str, position: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, position)):
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(text) if depth else position


def split_statements(text: str) -> list[str]:
    """Statements between semicolons, stripped; those that hold nothing but comments are left out."""
    shape = mask(text)
    edges = [-1, *(at for at, character in enumerate(shape) if character == ";"), len(text)]
    pairs = [(low + 1, high) for low, high in itertools.pairwise(edges)]
    return [text[low:high].strip() for low, high in pairs if shape[low:high].strip()]
