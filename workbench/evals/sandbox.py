"""Run a model's SQL where it can do no harm.

Every layer below stops something that the others let through:

* a role of its own that owns nothing and may only SELECT; no superuser, no TEMP, no other database;
* EXECUTE revoked on every volatile catalog function but a handful (``random``, ``clock_timestamp`` ...): sleeping,
  files, large objects, advisory locks, signals to other sessions, sequences, SQL run from text. READ ONLY
  stops none of these, and a list of the allowed ages better than one of the denied. So with functions in C and those
  that run as their owner; a database's own functions in SQL and PL/pgSQL can do no more than their caller, and stay;
* a READ ONLY transaction that is rolled back, on a fresh connection per candidate;
* the extended protocol, which takes one statement only, and ``DECLARE CURSOR``, which takes only a query;
* ``statement_timeout`` in the server, a deadline here in case the server is too busy to look, and
  ``transaction_timeout`` (Postgres 17 and later) for functions that catch their own cancellation;
* ``temp_file_limit`` (ends runaway recursion in a second, and keeps what a cursor has ready below it), a row cap (no
  more are read than are needed; the others are counted and thrown away, up to a limit), a byte cap (rows are read
  one by one, so what is too much is never held), and, for the embedded server on Linux, a limit on each backend's
  address space.

What the server does for this, once for the role and in each database, stands in ``workbench.evals.lock_down``, and
so do the settings of a connection, which keep figures from wobbling.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import EvaluationError
from workbench.evals.loaders import Context
from workbench.evals.lock_down import FORMATS, SETTINGS

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

MOST_ROWS = 100_000  # of any result, a gold's included; a query with more is a runaway, and fails
MAX_BYTES = 64 * 2**20  # of one result, as text
GRACE_S = 2.0  # how much later than the server's own limit the client gives up
RECONNECT_S = 10.0  # Postgres restarts itself after a crash of one backend; how long to wait for it
ATTEMPTS = 3
# Classes of SQLSTATE: too little memory or disk, a limit of time, a lock, a rollback, the system, the server itself.
PASSING = ("53", "57", "25P", "55", "40", "58", "XX")


_RUNNING_AGAIN = threading.Lock()  # what crashes the server must not crash others' second attempt


class QueryFailed(Exception):
    """The query's own failure: bad SQL, no permission, too slow, too large. The message is one line.

    Attributes:
        passing: whether a slow or full machine may have a part in it, so that the query might do better another time.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Disconnected(EvaluationError):
    """The server closed the connection under the query."""


@dataclass(frozen=True)
class Table:
    """A result: ``rows`` of Python values, the number of columns, whether there were more rows, the columns' names."""

    rows: list[tuple[Any, ...]]
    width: int
    truncated: bool
    names: tuple[str, ...] = ()


class Session:
    """One connection in the sandbox. A candidate gets its own; golds, which are trusted, may share one.

    Args:
        conninfo: of one database, as the sandbox's role.
        timeout_s: time limit of each query.

    Raises:
        EvaluationError: the server cannot be reached.
    """

    def __init__(self, conninfo: str, timeout_s: float) -> None:
        settings = {**SETTINGS, "statement_timeout": str(max(1, round(timeout_s * 1000)))}
        self.conninfo = conninfo
        self.options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.timeout_s = timeout_s
        self.connection = self._connect()

    def _connect(self) -> psycopg.Connection:
        import psycopg

        try:
            connection = psycopg.connect(
                self.conninfo, autocommit=True, options=self.options, client_encoding="utf8", context=Context()
            )
        except psycopg.OperationalError as error:
            raise EvaluationError(f"cannot connect to Postgres; see that it runs and run again: {error}") from error
        limit_ms = round(1000 * (2 * self.timeout_s + GRACE_S))
        modern = connection.info.server_version >= 170000
        connection.pgconn.exec_(f"{FORMATS} {f'SET transaction_timeout = {limit_ms}' if modern else ''}".encode())
        if connection.closed:
            raise EvaluationError("Postgres closed the connection at once; see its log and run again")
        return connection

    def close(self) -> None:
        """Drop the connection; a query still running is ended by the server."""
        self.connection.close()

    def run(self, sql: str, max_rows: int, max_bytes: int = MAX_BYTES, most_rows: int | None = None) -> Table:
        """Run one query read-only and roll back.

        Args:
            sql: the query.
            max_rows: rows that are read.
            max_bytes: most bytes of the rows that are read.
            most_rows: rows from which on the query counts as failed; default any number may be left unread.

        Raises:
            QueryFailed: anything wrong with the query.
            Disconnected: the server closed the connection.
        """
        if self.connection.closed:
            self.connection = self._connect()
        try:
            self._command("BEGIN READ ONLY")
            self._command(f"DECLARE answer NO SCROLL CURSOR FOR\n{sql}")
            table = self._fetch(max_rows, max_bytes)
            if most_rows and table.truncated:
                self._count_on(max_rows, most_rows)
            self._command("ROLLBACK")
        except QueryFailed:
            self._clean_up()
            raise
        return table

    def _clean_up(self) -> None:
        """After a failure: end the transaction, or the connection if an answer is still on its way."""
        from psycopg.pq import TransactionStatus

        if self.connection.pgconn.transaction_status == TransactionStatus.INERROR:
            self._command("ROLLBACK")
        else:
            self.connection.close()

    def _command(self, sql: str) -> int | None:
        """Run a statement that returns no rows; gives the number of rows it went over, where it tells."""
        return [result.command_tuples for result in self._results(sql)][-1]

    def _count_on(self, max_rows: int, most_rows: int) -> None:
        """Let the query run on without reading its rows, so that it fails as it would if they were read."""
        more = max(1, most_rows - max_rows)
        if self._command(f"MOVE FORWARD {more} IN answer") == more:
            raise QueryFailed(f"returns over {most_rows} rows")

    def _fetch(self, max_rows: int, max_bytes: int) -> Table:
        """Read row by row, so that what exceeds the byte cap is never held."""
        from psycopg.adapt import Transformer

        transformer = Transformer(self.connection)
        rows: list[tuple[Any, ...]] = []
        names: tuple[str, ...] = ()
        width = size = 0
        for result in self._results(f"FETCH FORWARD {max_rows + 1} FROM answer"):
            transformer.set_pgresult(result, set_loaders=not width)
            width = result.nfields
            names = names or tuple((result.fname(at) or b"").decode() for at in range(width))
            size += sum(len(result.get_value(row, at) or b"") for row in range(result.ntuples) for at in range(width))
            if size > max_bytes:
                raise QueryFailed(f"result exceeds {max_bytes} bytes")
            rows += transformer.load_rows(0, result.ntuples, tuple)
        return Table(rows[:max_rows], width, len(rows) > max_rows, names)

    def _results(self, sql: str) -> Iterator[PGresult]:
        """Results of one statement in the extended protocol, each holding at most one row."""
        import psycopg
        from psycopg.pq import ExecStatus

        deadline = time.monotonic() + self.timeout_s + GRACE_S
        failure: Exception | None = None
        wire = self.connection.pgconn
        try:
            wire.send_query_params(_encode(sql), None)
            wire.set_single_row_mode()
            while True:
                while (unsent := wire.flush()) or wire.is_busy():
                    self._wait(deadline, bool(unsent))
                    wire.consume_input()
                result = wire.get_result()
                if result is None:
                    break
                if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.SINGLE_TUPLE):
                    yield result
                else:
                    failure = failure or _failure(result)
        except psycopg.OperationalError as error:
            raise Disconnected(f"Postgres closed the connection; see its log and run again: {error}") from error
        if failure:
            raise failure

    def _wait(self, deadline: float, unsent: bool) -> None:
        """Until the server has something to say, or takes more of what it is still to be told."""
        import selectors

        with selectors.DefaultSelector() as selector:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
            selector.register(self.connection.pgconn.socket, events)
            if not selector.select(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                raise QueryFailed(f"no answer within {self.timeout_s:g} s", passing=True)


def run_once(conninfo: str, sql: str, *, timeout_s: float, max_rows: int) -> Table:
    """Run one query on a connection of its own.

    Should the server drop the connection (a crash of any backend makes Postgres drop them all), the query is
    run again, while no other is run again; if it happens every time, it is the query's fault.

    Raises:
        QueryFailed: anything wrong with the query, ``MOST_ROWS`` or more rows among it.
        EvaluationError: the server is gone and does not come back.
    """
    with suppress(Disconnected):
        return _run_connected(conninfo, sql, timeout_s, max_rows)
    with _RUNNING_AGAIN:
        for _ in range(ATTEMPTS - 1):
            time.sleep(0.3)  # until the server has noticed the crash itself and stopped taking connections
            with suppress(Disconnected):
                return _run_connected(conninfo, sql, timeout_s, max_rows)
    _connect(conninfo, timeout_s).close()
    raise QueryFailed(f"the server closed the connection, {ATTEMPTS} times", passing=True)


def _run_connected(conninfo: str, sql: str, timeout_s: float, max_rows: int) -> Table:
    with closing(_connect(conninfo, timeout_s)) as session:
        return session.run(sql, max_rows, most_rows=MOST_ROWS)


def _connect(conninfo: str, timeout_s: float) -> Session:
    deadline = time.monotonic() + RECONNECT_S
    while True:
        try:
            return Session(conninfo, timeout_s)
        except EvaluationError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def _encode(sql: str) -> bytes:
    if "\0" in sql:
        raise QueryFailed("contains a null character")
    try:
        return sql.encode()
    except UnicodeEncodeError as error:
        raise QueryFailed("is not valid Unicode") from error


def _failure(result: PGresult) -> Exception:
    from psycopg.pq import DiagnosticField

    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    if state.startswith(("57P", "08")) or not state:  # shut down, crashed, or no answer at all
        return Disconnected("Postgres closed the connection; see its log and run again")
    message = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"refused"
    return QueryFailed(message.decode(errors="replace").splitlines()[0], passing=state.startswith(PASSING))
