"""Prompts for timing: real schemas and questions in the model's own prompt, of exactly so many tokens.

Random tokens would do for the arithmetic, but not for engines that look at the text: tokenizers, caches of common
prefixes, drafts that guess the next words. So a prompt is what a user would send: a question of the bundled set
``heldout``, and a schema grown table by table, its question's own database first. Tables that no longer fit whole
are cut after a column, and the last few tokens are a comment. When all bundled tables are in, they come again under
names like those of archives. The prompts of a batch begin with different databases, so that they share no schema.

Example::

    prompts = schema_prompts(Workload(512, 64, batch=4), PROMPTS["v3"], session.prompt_tokens)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

from workbench.errors import UnsupportedWorkloadError
from workbench.nano import DATA_DIR
from workbench.prompt import COMPLETION, Prompt
from workbench.questions import QuestionSet, load_question_set
from workbench.search import largest
from workbench.workload import Workload

COPIES = ("", "archive_", "staging_", "audit_", "history_", "import_", "export_", "backup_")
# Fills what is left when not even a column fits: words of schema comments, then what nearly every tokenizer
# has as one token.
WORDS = ("kept", "for", "reports", "of", "earlier", "years", "and", "joined", "by", "key", "where", "both", "hold", "a")
LETTERS = (" a", " b", "a", "1", " ", ".", "\n")
_TABLE = re.compile(r"CREATE TABLE .*?\n\);", re.DOTALL)

Count = Callable[[str], int]


def schema_prompts(workload: Workload, prompt: Prompt, count: Count) -> list[str]:
    """The prompts of a workload's batch, each of exactly ``workload.prompt_tokens`` tokens.

    A model whose own prompt is longer than that without any table is given the plain one for base models.

    Args:
        workload: says how many and how long.
        prompt: the model's own.
        count: tokens that the engine reads for a text.

    Raises:
        UnsupportedWorkloadError: no prompt of that length can be made with this tokenizer.
    """
    return [_schema_prompt(workload.prompt_tokens, prompt, count, place) for place in range(workload.batch)]


def _schema_prompt(tokens: int, prompt: Prompt, count: Count, place: int) -> str:
    asked = _questions()
    names = asked.db_names()
    first = names[place % len(names)]
    own = [question for question in asked.questions if question.db_name == first]
    question = own[place // len(names) % len(own)].question
    order = [names[(place + step) % len(names)] for step in range(len(names))]
    tables = [table for copy in COPIES for name in order for table in _tables(name, copy)]
    for chosen in (prompt, COMPLETION):

        def render(schema: str, chosen: Prompt = chosen) -> str:
            return chosen.render(schema, question)

        if count(render(tables[0])) <= tokens:
            return _grow(tokens, tables, render, count)
    raise UnsupportedWorkloadError(f"a question and one table take more than {tokens} tokens with this tokenizer")


@cache
def _questions() -> QuestionSet:
    return load_question_set(DATA_DIR / "heldout.csv")


@cache
def _tables(database: str, copy: str) -> tuple[str, ...]:
    """DDL of a bundled database's tables, under other names in a copy."""
    found = _TABLE.findall(_questions().schema(database))
    return tuple(table.replace("CREATE TABLE ", f"CREATE TABLE {copy}", 1) for table in found)


def _grow(tokens: int, tables: Sequence[str], render: Callable[[str], str], count: Count) -> str:
    """A prompt of exactly so many tokens: whole tables, then columns of the next, words of a comment, letters."""

    def fits(schema: str) -> bool:
        return count(render(schema)) <= tokens

    whole = largest(len(tables), lambda number: fits("\n".join(tables[:number])))
    schema = "\n".join(tables[:whole])
    if whole < len(tables):
        head, *columns = tables[whole].splitlines()[:-1]

        def cut(number: int) -> str:
            body = "\n".join(columns[:number]).rstrip(",")
            return f"{schema}\n{head}\n{body}\n);" if number else schema

        schema = cut(largest(len(columns), lambda number: fits(cut(number))))
    comments = [f"{schema}\n-- {' '.join(WORDS[:number])}" if number else schema for number in range(len(WORDS) + 1)]
    schema = comments[largest(len(WORDS), lambda number: fits(comments[number]))]
    for _ in range(tokens):
        missing = tokens - count(render(schema))
        if missing == 0:
            return render(schema)
        longer = (schema + letter for letter in LETTERS)
        grown = next((one for one in longer if 0 < tokens - missing + 1 <= count(render(one)) <= tokens), None)
        if grown is None:
            break
        schema = grown
    raise UnsupportedWorkloadError(f"no prompt of exactly {tokens} tokens can be made with this tokenizer")
