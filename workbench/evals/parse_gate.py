"""Is the statement a plain query at all? Tells ``rejected`` (not a query) from ``error`` (a query that fails).

The gate is not the guard: a parser can be fooled, and this one knows less than Postgres. Safety is the
sandbox's work (``workbench.evals.sandbox``). So text that sqlglot cannot read passes, and Postgres judges it.

    >>> gate("DROP TABLE author")
    'not a query: DROP'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workbench.evals.tokens import mask

if TYPE_CHECKING:
    from sqlglot import exp

MAX_LENGTH = 100_000  # characters; no gold comes near it, and parsing is linear only for honest text

_FIRST_WORD = re.compile(r"[\s(]*(\S[^\s(]*)")

DENIED_FUNCTIONS = re.compile(
    r"""pg_sleep.* | pg_(?:read|ls|stat_file|write|logdir)\w* | lo_\w+ | lo(?:read|write) | dblink\w*
      | pg_(?:try_)?advisory\w* | pg_notify | set_config | setval | nextval | currval | lastval | setseed
      | pg_(?:terminate|cancel)_backend | pg_(?:reload_conf|rotate_logfile|promote|switch_wal|export_snapshot)
      | pg_(?:backup|create|drop|copy|logical|replication|wal_replay|stat_reset|import|log)_?\w* | pg_file_\w+
      | (?:query|cursor|table|schema|database)_to_xml\w* | ts_stat | txid_current\w* | pg_current_xact_id\w*""",
    re.VERBOSE | re.IGNORECASE,
)


def gate(sql: str) -> str | None:
    """Why a statement is no plain query, or ``None`` when it is one (or cannot be parsed).

    Allowed is exactly one SELECT, WITH, VALUES or TABLE that changes nothing, locks nothing and
    calls no function of ``DENIED_FUNCTIONS``.
    """
    if len(sql) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    word = _FIRST_WORD.match(mask(sql))
    if not word:
        return "no statement"
    if word[1].lower() not in ("select", "with", "values", "table"):
        return f"not a query: {word[1].upper()[:20]}"
    trees = _parse(sql)
    if trees is None:
        return None
    if len(trees) != 1:
        return f"{len(trees)} statements"
    return _fault(trees[0])


def _parse(sql: str) -> list[exp.Expr] | None:
    import logging

    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns about every statement it only half knows
    try:
        return [tree for tree in sqlglot.parse(sql, dialect="postgres") if tree is not None]
    except (SqlglotError, RecursionError):
        return None


def _fault(tree: exp.Expr) -> str | None:
    from sqlglot import exp

    if not isinstance(tree, exp.Query | exp.Values):
        return f"not a query: {_verb(tree)}"
    for node in tree.walk():
        if isinstance(node, exp.DML | exp.DDL | exp.Command) and not isinstance(node, exp.Query):
            return f"changes data: {_verb(node)}"
        if isinstance(node, exp.Into):
            return "writes a table: SELECT INTO"
        if isinstance(node, exp.Lock):
            return "locks rows"
        if isinstance(node, exp.Func) and DENIED_FUNCTIONS.fullmatch(node.name or node.sql_name()):
            return f"calls {(node.name or node.sql_name()).lower()}"
    return None


def _verb(node: exp.Expr) -> str:
    from sqlglot import exp

    return str(node.this).upper() if isinstance(node, exp.Command) else node.key.upper()
