"""Text of strangers as one plain line: what a card, a page or a terminal may show of it.

Names and notes of a package may hold anything: newlines that end a table's row, control characters, characters that
turn the direction of reading, half a surrogate pair, and the folders of the machine they were written on.

    plain("a\\n| b, of /home/me/model.gguf")  # "a | b, of model.gguf"
"""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 600  # of one text; the longest sentence the workbench writes has about 400
# Of a path that begins at a root, a home or a drive: everything but the last part.
_FOLDERS = re.compile(r"(?<![\w:/.~])(?:file:/*|~|[A-Za-z]:)?[/\\](?:[^/\\\s'\"]+[/\\])+(?=[^/\\\s'\"])")


def plain(text: str) -> str:
    """A text as one line, cut at ``MOST_CHARACTERS``, without control, format and surrogate characters and folders."""
    begin = text[: 4 * MOST_CHARACTERS]  # what a megabyte begins with is enough to look at
    spaced = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in begin)
    kept = "".join(one for one in spaced if unicodedata.category(one) not in ("Cf", "Cs", "Co"))
    line = _FOLDERS.sub("", " ".join(kept.split()))
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"
