"""Does a text say that there is no answer? What "I do not know" looks like in its many forms.

SQLCoder is told to return 'I do not know' where the schema cannot answer; sql-eval's questions of that kind ask for
``SELECT '<apology>' AS answer`` in twenty-one wordings. A text declines when it says so outright, or puts a "cannot"
next to an "answer", or an apology or a "no" next to "data". Generous on purpose: it is asked only of texts that read
no table, where the worst that a wrong yes can do is to call prose a refusal.

    >>> declines("Apologies, I lack the necessary data to provide an answer.")
    True
"""

from __future__ import annotations

import re

_REGRET = r"(?:sorry|apolog\w+|regret\w*|unfortunate\w*|afraid|alas)"
_LACK = (
    r"(?:no|not|\w+n't|cannot|lack\w*|without|insufficient|unavailable|missing|absen\w+|beyond|unable|inability"
    r"|unrelated|irrelevant|outside|out of)"
)
_CANNOT = (
    r"(?:cannot|can not|can't|cant|could not|couldn't|unable|not able|inability|impossible|not possible|not feasible)"
)
_ANSWER = r"(?:answer\w*|respon\w+|provid\w+|determin\w+|tell|help|generat\w+|creat\w+|writ\w+|query)"
_DATA = r"(?:data|information|schema|tables?|columns?|database|knowledge|access|details|records|scope)"
_OUTRIGHT = (
    r"\b(?:do not|don't|dont) know\b",
    r"^\W*(?:idk|unknown|n/?a|not available|not answerable|unanswerable|no answer|no idea)\W*$",
    r"\bcannot be answered\b",
    r"\bnot (?:answerable|sure)\b",
)


def _near(one: str, other: str) -> tuple[str, str]:
    """Both words in one sentence, in either order; sentences have an end, so that hostile text costs little."""
    return rf"\b{one}\b[^.!?]{{0,300}}\b{other}\b", rf"\b{other}\b[^.!?]{{0,300}}\b{one}\b"


_DECLINES = re.compile(
    "|".join([*_OUTRIGHT, *_near(_CANNOT, _ANSWER), *_near(_LACK, _DATA), *_near(_REGRET, _DATA)]), re.IGNORECASE
)


# sql-eval's golds of questions without an answer: one text, and no table.
_ONLY_TEXT = re.compile(r"\s*select\s+'((?:[^']|'')*)'\s*(?:as\s+\w+\s*)?;?\s*", re.IGNORECASE)
_QUERY = re.compile(r"[\s(]*(?:select|with|values|table)\b", re.IGNORECASE)


def declines(text: str) -> bool:
    """Whether the text says that it cannot answer."""
    return bool(_DECLINES.search(" ".join(text.replace("\u2019", "'").split())))


def gold_declines(gold: str) -> bool:
    """Whether a gold is 'I do not know' itself, or a SELECT of nothing but such a text: the question has no answer."""
    if found := _ONLY_TEXT.fullmatch(gold):
        return declines(found[1].replace("''", "'"))
    return not _QUERY.match(gold) and declines(gold)
