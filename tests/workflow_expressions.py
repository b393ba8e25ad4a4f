"""GitHub Actions' expressions, as far as this project's workflows use them.

https://docs.github.com/actions/reference/workflows-and-actions/expressions: names of contexts, strings, ``fromJSON``,
``!``, ``==``, ``!=``, ``&&`` and ``||``, which give one of their sides. What is not there is null, and null is an empty
text.
"""

import json
import re
from typing import Any

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|[!()]|[\w.-]+)")


def fill(text: Any, contexts: dict[str, Any]) -> Any:
    """A value of a workflow file with its expressions worked out; one that is all of it keeps its type."""
    if isinstance(text, dict):
        return {name: fill(value, contexts) for name, value in text.items()}
    if isinstance(text, list):
        return [fill(value, contexts) for value in text]
    if not isinstance(text, str):
        return text
    if whole := re.fullmatch(r"\$\{\{((?:(?!\}\}).)*)\}\}", text.strip()):
        return evaluate(whole[1], contexts)
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: as_text(evaluate(found[1], contexts)), text)


def as_text(value: Any) -> str:
    """What an environment variable gets."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def evaluate(expression: str, contexts: dict[str, Any]) -> Any:
    """The value of one expression."""
    tokens = _TOKEN.findall(expression)
    assert "".join(tokens) == re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", expression), expression
    value = _either(tokens, contexts)
    assert not tokens, f"{expression}: {tokens} is left"
    return value


def _either(tokens: list[str], contexts: dict[str, Any]) -> Any:
    value = _both(tokens, contexts)
    while tokens[:1] == ["||"]:
        tokens.pop(0)
        other = _both(tokens, contexts)
        value = value or other
    return value


def _both(tokens: list[str], contexts: dict[str, Any]) -> Any:
    value = _equal(tokens, contexts)
    while tokens[:1] == ["&&"]:
        tokens.pop(0)
        other = _equal(tokens, contexts)
        value = value and other
    return value


def _equal(tokens: list[str], contexts: dict[str, Any]) -> Any:
    value = _one(tokens, contexts)
    while tokens[:1] in (["=="], ["!="]):
        wanted = tokens.pop(0) == "=="
        value = (value == _one(tokens, contexts)) is wanted
    return value


def _one(tokens: list[str], contexts: dict[str, Any]) -> Any:
    token = tokens.pop(0)
    if token == "!":
        return not _one(tokens, contexts)
    if token == "(" or tokens[:1] == ["("]:
        if token != "(":
            tokens.pop(0)
        value = _either(tokens, contexts)
        assert tokens.pop(0) == ")"
        return json.loads(value) if token == "fromJSON" else value
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    found: Any = contexts
    for name in token.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
