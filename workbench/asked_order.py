"""Does a question ask for its rows in a certain order? Only then may the order of an answer count.

A gold's own ORDER BY does not tell: of sql-eval's 80 golds that sort without a LIMIT only 31 belong to a question
that asks for it, the others merely tidy up. Nor does "the top 5": it says which rows, not how to show them. So each
public question of sql-eval was read, and ``order_audit.json`` holds the verdicts, by a digest of the question's words
(no text is copied). For a question nobody has read, a rule on its words decides: "sorted by", "in ascending order",
"alphabetically", "from highest to lowest", "the longest first". On the audited questions rule and audit agree.

    >>> asks_for_order("List the restaurants, best ratings first")
    (True, 'rule')
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Literal

AUDIT = Path(__file__).parent / "order_audit.json"
Source = Literal["file", "audit", "rule"]

_MOST = (
    r"(?:(?:high|low|larg|small|bigg|old|new|young|long|short|great|few|earli|lat|cheap|near|farth|fast|slow|heavi"
    r"|light|rich|poor|strong|weak|tall|clos|busi|hott|cold)est|most|least|best|worst|top|bottom)"
)
_EXTREME = (
    rf"(?:{_MOST}|(?:high|low|large|small|bigg|old|new|young|long|short|great|few|earli|late)e?r|more|less|high|low)"
)
_PEOPLE = r"(?:customers?|clients?|users?|buyers?|patients?|doctors?|people|members?)"
_RULES = (
    r"\bsort(?:ed)?\b(?!\s+(?:of|code)\b)",
    r"\b(?:ascending|descending|alphabetically|chronologically)\b",
    r"\b(?:alphabetic(?:al)?|chronological|numerical|increasing|decreasing|reverse)\s+order\b",
    r"\bin\s+(?:(?:the|that|this)\s+)?order\b(?!\s+to\b)",
    # "products ordered by customers" and "the average order by region" ask for no order
    rf"\bordered\s+by\s+(?!(?:(?:the|a|an|each|any|all|our)\s+)?{_PEOPLE}\b(?!\s+(?:name|id|number)\b))",
    r"\border\s+(?:(?:the|these|them|all|your)\s+)?(?:(?:results?|rows|output|list|them|it)\s+)(?:by|from)\b",
    r"(?:^|[.,;:?!(]\s*|\b(?:and|then|please)\s+)(?:order|arrange|rank(?!.*\brank))\s+(?:(?:the|them|these|all)\b.*\s)?by\b",
    r"\b(?:ranked|arranged)\s+(?:in|by|from|according)\b",
    rf"(?<!\bdifference\s)(?<!\brange\s)\bfrom\s+(?:the\s+)?{_EXTREME}(?:\s+\S+){{0,3}}?"
    rf"\s+to\s+(?:the\s+)?{_EXTREME}\b",
    r"\bfrom\s+(?:a\s+to\s+z|z\s+to\s+a)\b",
    rf"\bordered\s+from\s+(?:the\s+)?{_MOST}\b",
    rf"\bstart(?:ing)?\s+(?:from|with|at)\s+the\s+(?:\S+\s+)?{_MOST}\b",
    rf"\b{_MOST}(?:\s+[\w-]+){{0,4}}\s+(?:first|last)(?=\s*(?:[.,;:?!)]|$))",
)
_RULE = re.compile("|".join(_RULES), re.IGNORECASE)


def asks_for_order(question: str) -> tuple[bool, Source]:
    """Whether a question asks for an order, and who says so: the ``audit``, or for an unread question the ``rule``."""
    found = _audit().get(digest(question))
    return (_rule(question), "rule") if found is None else (found, "audit")


def digest(question: str) -> str:
    """The first 16 hexadecimal digits of the sha256 of a question's words, whatever their case and punctuation."""
    return hashlib.sha256(" ".join(re.findall(r"\w+", question.casefold())).encode()).hexdigest()[:16]


def _rule(question: str) -> bool:
    return bool(_RULE.search(" ".join(question.split())))


@cache
def _audit() -> dict[str, bool]:
    record = json.loads(AUDIT.read_text(encoding="utf-8"))
    return {key: asked for asked in (True, False) for key in record["asks" if asked else "does_not_ask"]}
