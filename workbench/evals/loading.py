"""A database for the sandbox: created, filled by its script, and locked down, in this order.

The script runs as the server's superuser, for it is the question set's own; what it made is then taken from everybody,
and the sandbox's role may read it (``workbench.evals.lock_down``). Rows may stand in ``COPY ... FROM stdin`` blocks, as
pg_dump writes them, which psql would read and a plain ``execute`` would not. Nothing in it depends on the machine:
text is sorted by code points, and formats are those that candidates see.

    create_database(superuser, "workbench_1a2b_0", role="workbench_1a2b")
    fill_database(superuser_there, script, role="workbench_1a2b")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.databases import COPY_BLOCK
from workbench.evals.lock_down import FORMATS, lock_down

if TYPE_CHECKING:
    import psycopg


def create_database(connection: psycopg.Connection, name: str, role: str, options: str = "") -> None:
    """An empty database that only ``role`` may enter.

    Args:
        connection: of a superuser, in autocommit.
        name: not yet taken; plain letters, digits and underscores.
        role: of the sandbox.
        options: further ones of CREATE DATABASE, such as where it lies.

    Raises:
        psycopg.Error: the server refuses.
    """
    connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {_locale(connection)} {options}")
    connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    connection.execute(f"GRANT CONNECT ON DATABASE {name} TO {role}")


def fill_database(connection: psycopg.Connection, script: str, role: str) -> None:
    """Run the script in a new database, then lock it down.

    Raises:
        psycopg.Error: a statement fails.
        ValueError: see ``run_script``.
    """
    connection.execute(FORMATS.encode())  # dates and times mean what they mean to candidates
    run_script(connection, script)
    connection.execute(lock_down(role))


def run_script(connection: psycopg.Connection, script: str) -> None:
    """Run SQL that may hold ``COPY ... FROM stdin`` blocks as pg_dump writes them.

    Raises:
        psycopg.Error: a statement fails.
        ValueError: the text is no valid Unicode, or holds a null character, at which it would silently be cut off.
    """
    if "\0" in script:
        raise ValueError("it holds a null character")
    position = 0
    for block in COPY_BLOCK.finditer(script):
        connection.execute(script[position : block.start()].encode())
        with connection.cursor().copy(block[1].encode()) as copy:
            copy.write(block[2])
        position = block.end()
    connection.execute(script[position:].encode())


def _locale(connection: psycopg.Connection) -> str:
    """Sort and upper-case text the same way on every machine, where Postgres has that (17 and later)."""
    modern = connection.info.server_version >= 170000
    return "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'" if modern else ""
