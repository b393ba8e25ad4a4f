"""The SQL in a model's answer: cut it out, never repair it.

SQLCoder's prompt ends inside an open fence, so its answer is SQL, a closing fence, and whatever the
model says next; chat models wrap a fenced block in prose, and some think aloud first. The rule: the first fenced
block; an answer that has none, or whose first fence closes what the prompt opened, is taken up to that fence, a
stop tag or prose. Of that, the first statement counts. Nothing is added, no bracket closed, no name corrected: the
score is of what the model wrote.

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
_THOUGHT = re.compile(r"(?s:\s*<think>.*?</think>)|(?s:.*?</think>)")
_WRAPPER = re.compile(r"\s*(?:\[SQL\]|<sql>|<s>|(?:sql|postgres|postgresql)[ \t\r]*\n)", re.IGNORECASE)
_FENCE = re.compile(
    r"""(?:`{3,}|(?m:^[ \t]{0,9}+)~{3,})[ \t]*
        (?P<language>(?:sql|postgres|postgresql|psql|pgsql|plpgsql)\b|\w+(?=[ \t\r]*\n))?""",
    re.IGNORECASE | re.VERBOSE,
)
_TAG = (
    r"</?(?:s|sql|SQL|think|answer|eos|EOS|EOT|end_of_turn)>|<[|\uff5c][^|\uff5c<>\n]{1,40}[|\uff5c]>"
    r"|\[/?(?:SQL|INST|QUESTION|ANSWER|SCHEMA)\]|\#\#\#"
)
_WORDS = "This|The|That|These|Here|It|You|We|Please|Let|However|Alternatively|Also|Hope|In this|Note that|I"
_LABELS = "Explanation|Notes?|Question|Answer|Output|Results?|Instructions"
_CLAUSES = (
    "select|from|where|and|or|not|join|left|right|inner|outer|full|cross|natural|on|using|group|order|by|having|limit|"
    "offset|fetch|union|except|intersect|with|as|case|when|then|else|end|in|like|between|window|values|distinct"
)
_SPEECH = rf"(?:{_WORDS})(?:['\u2019]\w+)?,? (?!(?i:{_CLAUSES})\b)[A-Za-z]".replace(" ", "[ ]")
_SENTENCE = rf"(?!(?i:{_CLAUSES})\b)[A-Z][a-z']+,?(?:[ ](?!(?i:{_CLAUSES})\b)[a-z][a-z'-]*,?){{2}}"
_BLANK_LINE = r"\n[ \t\r]{0,99}+\n\s{0,99}+"
_END = re.compile(
    rf"""`{{3}} | (?m:^[ \t]{{0,9}}+)~{{3}} | {_TAG}
      | {_BLANK_LINE}(?:{_SPEECH} | Explanation\s | \*\*\w | \#{{1,6}}[ ]\w | {_SENTENCE})
      | \n\s{{0,99}}+(?:(?:{_LABELS})[ \t]*:(?!:) | (?:This|The)[ ](?:query|SQL|statement|above|code)\b)""",
    re.VERBOSE,
)


def extract_sql(answer: str) -> str:
    """The first SQL statement of an answer, without its semicolon.

    Args:
        answer: the model's text, as generated.

    Returns:
        The statement, stripped; empty when the answer holds none. Text that is neither fenced nor
        begins as a statement is returned as it stands: it will not run, and that is the verdict.
    """
    body = _block(_unwrap(answer))
    end = _END.search(mask(body))
    statements = split_statements(body[: end.start()] if end else body)
    return statements[0] if statements else ""


def _block(text: str) -> str:
    """The text from the first fenced block on, or the whole where the first fence ends what the prompt began."""
    shape = mask(text)
    begun = bool(_STATEMENT.match(shape))
    fence = _FENCE.search(shape if begun else text)  # an apostrophe in prose is no quote
    if not fence:
        return text
    rest = _unwrap(text[fence.end() :])
    closes = begun or (bool(text[: fence.start()].strip()) and not _STATEMENT.match(mask(rest)) and "```" not in rest)
    return text if closes and not fence["language"] else rest


def _unwrap(text: str) -> str:
    """The text after a model's thoughts and a leading ``[SQL]``, ``<sql>``, ``<s>``, or the rest of an opened fence."""
    if not _STATEMENT.match(mask(text)) and (thought := _THOUGHT.match(text)):
        text = text[thought.end() :]
    while found := _WRAPPER.match(text):
        text = text[found.end() :]
    return text
