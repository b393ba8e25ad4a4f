"""'I do not know': whether an answer declines, for questions that the database cannot answer.

There refusing is right and inventing SQL is wrong. Three things are a refusal: prose that declines; no SQL at all
beside an apology; and SQL that reads nothing but says so, ``SELECT 'I do not know' AS answer``, which is how
sql-eval's golds put it. The statement judged is the one that would be run (``extraction.extract_sql``), so an
apology followed by a fenced query over a table is an invention, and so is a real query that holds such a text.

    >>> is_refusal("SELECT 'I do not know' AS answer"), is_refusal("SELECT 'I do not know' FROM author")
    (True, False)
"""

from __future__ import annotations

import re

from workbench.declining import declines
from workbench.evals.extraction import extract_sql
from workbench.evals.parse_gate import parse
from workbench.evals.tokens import mask

MAX_LENGTH = 20_000  # characters; nobody declines at such length, and hostile text must not keep the scorer busy
# Of a query in prose: it begins a line or follows a colon. "Which columns to select from the schema" does neither.
_QUERY_IN_PROSE = re.compile(
    r"(?:^|[:;])[ \t(]*(?:select|with)\b.{1,2000}?\bfrom\b", re.IGNORECASE | re.DOTALL | re.MULTILINE
)
_CHANGES = re.compile(
    r"[\s(]*(?:insert\s+into|delete\s+from|update\s+\S+\s+set|merge\s+into|copy|drop|create|alter|truncate)\b",
    re.IGNORECASE,
)
_BROKEN_TEXT = re.compile(r"\s*select\s+'(.*)'\s*(?:as\s+\w+\s*)?", re.IGNORECASE | re.DOTALL)


def is_refusal(answer: str) -> bool:
    """Whether a model's answer declines to answer.

    Args:
        answer: the model's text, as generated.
    """
    if len(answer) > MAX_LENGTH:
        return False
    sql = extract_sql(answer)
    if (texts := _selected_texts(sql)) is not None:
        return any(map(declines, texts))
    if broken := _BROKEN_TEXT.fullmatch(sql):  # SELECT 'I'm sorry': no SQL, for want of a second quote
        return declines(broken[1]) and not re.search(r"'\s*(?:,|from\b)", broken[1], re.IGNORECASE)
    prose = sql or answer
    return declines(prose) and not _QUERY_IN_PROSE.search(prose) and not _CHANGES.match(mask(prose))


def _selected_texts(sql: str) -> list[str] | None:
    """The texts a query selects without reading anything; empty for any other query, ``None`` for what is none."""
    from sqlglot import exp

    tree = parse(sql)
    if not isinstance(tree, exp.Query):
        return None
    parts = {name for name, value in tree.args.items() if value}
    columns = [column.unalias() for column in tree.expressions]
    plain = [column.this if isinstance(column, exp.Cast) else column for column in columns]
    if parts <= {"expressions", "limit"} and all(isinstance(one, exp.Literal) and one.is_string for one in plain):
        return [one.name for one in plain]
    return []
