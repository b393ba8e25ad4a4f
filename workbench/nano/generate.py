"""Endless seeded question/SQL pairs for training, and the shipped question files.

Interface for training::

    from workbench.nano.generate import generate, schema_text, stream_database_names

    for question in generate(split="train", count=10_000, seed=1, hardness={"easy", "medium"}):
        prompt = NANO.render(schema_text(question.db_name), question.question)
        answer = question.query            # one line, no trailing semicolon

``split`` is ``train``, ``heldout`` (same eight databases, other texts) or ``unseen`` (two databases that
training never meets). A text belongs to ``heldout`` when the sha256 of its normalised form is divisible by
ten, else to ``train``: a rule and not a list, so that training can stream for ever without meeting a
held-out question. ``hardness`` is a set of Spider classes, or None for all. The same arguments always give
the same questions; no database is touched.

The shipped files are made again, every gold run on PostgreSQL, by::

    python -m workbench.nano.ship
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Collection, Iterator
from functools import cache
from itertools import accumulate

from workbench.evals.hardness import hardness as spider_hardness
from workbench.nano import (  # noqa: F401
    forms_date,
    forms_group,
    forms_join,
    forms_links,
    forms_order,
    forms_ratio,
    forms_sets,
)
from workbench.nano.columns import Database
from workbench.nano.draw import Draw, NoFit
from workbench.nano.forms import FORMS, Form
from workbench.nano.schemas import DATABASES, TRAINING
from workbench.nano.schemas_unseen import UNSEEN
from workbench.questions import Question

SPLITS = ("train", "heldout", "unseen")
CATEGORIES = ("date", "group_by", "order_by", "ratio", "table_join", "where")
# Most draws are easy or medium; a full stream keeps this part of them, so that every class gets its practice.
KEPT = {"easy": 0.6, "medium": 0.55}
LONGEST_SQL = 320  # characters; longer pairs are dropped so that answers stay within about 110 tokens
_HARDNESS: dict[str, str] = {}
_LITERAL_OR_NAME = re.compile(r"'[^']*'|\b\d[\d.]*\b|\b[a-z][a-z_0-9]*(?:\.[a-z][a-z_0-9]*)?\b")
_FORMS_OF = {name: [f for f in FORMS if f.category == name] for name in CATEGORIES}
_WEIGHTS_OF = {name: list(accumulate(f.weight for f in forms)) for name, forms in _FORMS_OF.items()}


def stream_database_names(split: str = "train") -> list[str]:
    """Databases the questions of a split are asked of."""
    return [database.name for database in (UNSEEN if split == "unseen" else TRAINING)]


@cache
def schema_text(db_name: str) -> str:
    """The DDL of a database as the prompt shows it: the text of its ``schema.sql``, stripped."""
    return DATABASES[db_name].ddl().strip()


def is_heldout(question: str) -> bool:
    """Whether a question text belongs to the held-out tenth, whatever its case, spaces and end mark."""
    return int(hashlib.sha256(normalised(question).encode()).hexdigest(), 16) % 10 == 0


def normalised(question: str) -> str:
    """Lower-case words and digits only."""
    return " ".join(re.findall(r"[a-z0-9]+", question.lower()))


def hardness_of(sql: str) -> str:
    """Spider's class, computed once per shape of the query (names and literals do not change it)."""
    shape = _LITERAL_OR_NAME.sub("x", sql)
    if shape not in _HARDNESS:
        _HARDNESS[shape] = spider_hardness(sql)
    return _HARDNESS[shape]


def generate(split: str, count: int, seed: int, hardness: Collection[str] | None = None) -> Iterator[Question]:
    """Yield ``count`` questions of a split; texts may repeat in a long stream, as in any resampling.

    Args:
        split: ``train``, ``heldout`` or ``unseen``.
        count: how many.
        seed: same seed, same questions.
        hardness: Spider classes to keep; None keeps all.

    Raises:
        ValueError: the split or a class is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {SPLITS}")
    if hardness is not None and (not hardness or set(hardness) - {"easy", "medium", "hard", "extra"}):
        raise ValueError(f"hardness {hardness!r} must name classes out of easy, medium, hard, extra")
    rng = random.Random(f"{split}-{seed}")  # noqa: S311 - reproducible, not secret
    databases = UNSEEN if split == "unseen" else TRAINING
    made = 0
    while made < count:
        question = sample(rng, databases, made)
        if question is None or not _wanted(rng, question.hardness or "", hardness):
            continue
        if split != "unseen" and is_heldout(question.question) != (split == "heldout"):
            continue
        made += 1
        yield question


def _wanted(rng: random.Random, found: str, hardness: Collection[str] | None) -> bool:
    return rng.random() < KEPT.get(found, 1.0) if hardness is None else found in hardness


def sample(rng: random.Random, databases: tuple[Database, ...], number: int) -> Question | None:
    """One draw: a database, a category, a form; None when the form does not fit the database."""
    database, category = rng.choice(databases), rng.choice(CATEGORIES)
    chosen: Form = rng.choices(_FORMS_OF[category], cum_weights=_WEIGHTS_OF[category])[0]
    try:
        text, sql, ordered = chosen.make(Draw(database, rng))
    except NoFit:
        return None
    if len(sql) > LONGEST_SQL:
        return None
    return Question(str(number), text, sql, database.name, category, hardness_of(sql), ordered)
