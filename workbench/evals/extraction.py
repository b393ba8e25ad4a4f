"""The SQL in a model's answer: cut it out, never repair it.

SQLCoder's prompt ends inside an open fence, so its answer is SQL, a closing fence, and whatever the
model says next; chat models wrap a fenced block in prose. The rule: an answer that begins as a
statement is taken up to the closing fence, stop tag or prose; any other answer gives its first
fenced block, treated the same way. Of that, the first statement counts. Nothing is added, no bracket
closed, no name corrected: the score is of what the model wrote.

    >>> extract_sql("Sure:\\n```sql\\nSELECT 1; SELECT 2\\n```")
    'SELECT 1'
"""

from __future__ import annotations

import re

from workbench.evals.tokens import mask, split_statements

# Strict on purpose: "With this query", "Table 1 shows" and "Do you mean" begin prose, not SQL.
_STATEMENT = re.compile(
    r"""[(\s]*(?:
        select\b | values\s*\( | table\s+[\w.\x01]+\s*(?:;|```|\Z)
      | with\s+(?:recursive\s+)?[\w\x01]+\s*(?:\([^)]*\)\s*)?as\b
      | insert\s+into\b | delete\s+from\b | merge\s+into\b | update\s+\S+\s+set\b | do\s*\x01 | copy\s*\(
      | (?:create|drop|alter|truncate)\s+(?:table|view|schema|database|role|user|function|index|extension)\b )""",
    re.VERBOSE | re.IGNORECASE,
)
_WRAPPER = re.compile(r"\s*(?:\[SQL\]|<sql>|<s>)", re.IGNORECASE)
_OPENING_FENCE = re.compile(r"```[ \t]*(?:(?:sql|postgres|postgresql|psql|pgsql)\b|\w+(?=[ \t]*\n))?", re.IGNORECASE)
_TAG = r"</?(?:s|sql|SQL)>|<\|[^|<>\n]{1,40}\|>|\[/?(?:SQL|INST|QUESTION|ANSWER|SCHEMA)\]|\#\#\#"
_WORDS = "This|The|That|These|Here|It|You|We|Please|Let|However|Alternatively|Also|Hope|In this|I"
_LABELS = "Explanation|Notes?|Question|Answer|Output|Results?|Instructions"
_END = re.compile(
    rf"```|{_TAG}|\n[ \t]{{0,99}}\n\s{{0,99}}(?:{_WORDS}|{_LABELS})\b(?!\s*[.(])|\n\s{{0,99}}(?:{_LABELS})[ \t]*:(?!:)",
)


def extract_sql(answer: str) -> str:
    """The first SQL statement of an answer, without its semicolon.

    Args:
        answer: the model's text, as generated.

    Returns:
        The statement, stripped; empty when the answer holds none. Text that is neither fenced nor
        begins as a statement is returned as it stands: it will not run, and that is the verdict.
    """
    body = _unwrap(answer)
    if not _STATEMENT.match(mask(body)) and (fence := _OPENING_FENCE.search(body)):
        body = _unwrap(body[fence.end() :])
    end = _END.search(mask(body))
    statements = split_statements(body[: end.start()] if end else body)
    return statements[0] if statements else ""


def _unwrap(text: str) -> str:
    """The text after a leading ``[SQL]``, ``<sql>`` or ``<s>``."""
    while found := _WRAPPER.match(text):
        text = text[found.end() :]
    return text
