"""Is the statement a plain query at all? Tells ``rejected`` (not a query) from ``error`` (a query that fails).

The gate is not the guard: a parser can be fooled, and this one knows less than Postgres. Safety is the
sandbox's work (``workbench.evals.sandbox``). So text that sqlglot cannot read passes, and Postgres judges it. What
needs no tree is read off the tokens, which holds for such text too: the first word, the number of statements, the
functions called, and the keywords that only data-modifying statements have.

    >>> gate("DROP TABLE author")
    'not a query: DROP'
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING

from workbench.evals.tokens import QUOTED, mask, split_statements

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.parser import Parser

MAX_LENGTH = 100_000  # characters that sqlglot is given; no gold comes near it
STEPS_PER_TOKEN = 40  # honest SQL needs up to 4; nested type names, as in ``date(date(...``, double it with each

_QUERY = ("select", "with", "values", "table")
_FIRST_WORD = re.compile(r"[\s(]*(\w+|\S)")
_CALL = re.compile(rf"(?<![\w$&{QUOTED}])((?:[uU]&)?[\w${QUOTED}]++)\s*+\(")
_ESCAPE = re.compile(r"\\(?:\+([0-9a-fA-F]{6})|([0-9a-fA-F]{4}))")  # in U&"..."
_CHANGE = re.compile(
    r"[()]\s*(insert\s+into|delete\s+from|merge\s+into|update\s+(?:only\s+)?[\w.\x01]+(?:\s+(?:as\s+)?\w+)?\s+set)\b",
    re.IGNORECASE,
)
_LOCK = re.compile(r"\bfor\s+(?:no\s+key\s+)?(?:update|(?:key\s+)?share)\s*(?:$|of\b|nowait\b|skip\b)", re.IGNORECASE)
_INTO = re.compile(r"(?<!\.)(?<!\bas\s)\binto\b", re.IGNORECASE)  # a reserved word, so no column's name

DENIED_FUNCTIONS = re.compile(
    r"""pg_sleep(?:_for|_until)? | pg_(?:try_)?advisory_\w+ | pg_notify | set_config | setseed
      | nextval | setval | currval | lastval | dblink\w* | ts_stat
      | pg_(?:read|write|ls|stat|file)_(?:binary_)?(?:file|dir\w*|\w*dir|read|write|sync|rename|unlink)\w*
      | pg_(?:logdir|reload|rotate|terminate|cancel|promote|switch|export_snapshot|import)\w*
      | pg_(?:backup|start_backup|stop_backup|create|drop|copy|logical|replication|wal_replay|sync)_?\w*
      | pg_stat_(?:reset|statements_reset)\w* | pg_log_\w+ | pg_(?:restore|clear)_\w+_stats
      | lo_(?:import|export|creat|create|open|close|from_bytea|get|put|unlink|(?:l?seek|l?tell|truncate)(?:64)?)
      | loread | lowrite | (?:query|cursor|table|schema|database)_to_xml\w*
      | pg_current_logfile | pg_hba_file_rules | pg_ident_file_mappings | pg_show_all_file_settings
      | txid_current(?:_if_assigned)? | pg_current_xact_id\w* | binary_upgrade_\w+""",
    re.VERBOSE,
)


def gate(sql: str) -> str | None:
    """Why a statement is no plain query, or ``None`` when it is one (or cannot be parsed).

    Allowed is exactly one SELECT, WITH, VALUES or TABLE that changes nothing, locks nothing and
    calls no function of ``DENIED_FUNCTIONS``. A SELECT or WITH whose first word is misspelt is a query that fails.
    """
    shape = mask(sql)
    word = _FIRST_WORD.match(shape)
    if not word:
        return "no statement"
    if word[1].lower() not in _QUERY and not difflib.get_close_matches(word[1].lower(), _QUERY[:2], cutoff=0.82):
        return f"not a query: {word[1].upper()[:20]}"
    if (count := len(split_statements(sql))) > 1:
        return f"{count} statements"
    return _fault_of_tokens(sql, shape) or _fault_of_tree(sql)


def _fault_of_tokens(sql: str, shape: str) -> str | None:
    if change := _CHANGE.search(shape):
        return f"changes data: {change[1].split()[0].upper()}"
    if _INTO.search(shape):
        return "writes a table: SELECT INTO"
    if _LOCK.search(shape):
        return "locks rows"
    names = (_name(sql[call.start(1) : call.end(1)]) for call in _CALL.finditer(shape))
    called = next(filter(DENIED_FUNCTIONS.fullmatch, names), None)
    return f"calls {called}" if called else None


def _name(token: str) -> str:
    """What Postgres takes an identifier for: in lower case, unless it is quoted."""
    if not token.endswith('"'):
        return token.lower()
    name = token[token.index('"') + 1 : -1].replace('""', '"')
    escaped = token[:2].lower() == "u&"
    return _ESCAPE.sub(lambda code: chr(int(code[1] or code[2], 16) % 0x110000), name) if escaped else name


def _fault_of_tree(sql: str) -> str | None:
    from sqlglot import exp

    tree = parse(sql)
    if tree is None:
        return None
    if not isinstance(tree, exp.Query | exp.Values):
        return f"not a query: {_verb(tree)}"
    for node in tree.walk():
        if isinstance(node, exp.DML | exp.DDL | exp.Command) and not isinstance(node, exp.Query):
            return f"changes data: {_verb(node)}"
        if isinstance(node, exp.Lock):
            return "locks rows"
    return None


def _verb(node: exp.Expr) -> str:
    from sqlglot import exp

    return str(node.this).upper() if isinstance(node, exp.Command) else node.key.upper()


def parse(sql: str) -> exp.Expr | None:
    """sqlglot's tree of one statement that may be anything.

    Returns:
        ``None`` when sqlglot cannot read it, not in reasonable time, or finds several statements.
    """
    import sqlglot
    from sqlglot.errors import SqlglotError

    if len(sql) > MAX_LENGTH:
        return None
    try:
        tokens = sqlglot.tokenize(sql, dialect="postgres")
        trees = _bounded_parser()(dialect="postgres").parse(tokens, sql)
    except (SqlglotError, RecursionError, _TooManySteps):
        return None
    return trees[0] if len(trees) == 1 else None


class _TooManySteps(Exception):
    """The parser has gone back and forth over the text too often."""


@functools.cache
def _bounded_parser() -> type[Parser]:
    """sqlglot's parser, made to give up: it tries a type before a function, at every level of nesting anew."""
    import logging

    from sqlglot.dialects.postgres import Postgres

    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns about every statement it only half knows
    base: type[Parser] = Postgres.parser_class

    class Bounded(base):  # type: ignore[valid-type, misc]
        steps = 0

        def _advance(self, times: int = 1) -> None:
            self.steps += 1
            if self.steps > STEPS_PER_TOKEN * (self._tokens_size + 10):
                raise _TooManySteps
            super()._advance(times)

    return Bounded
