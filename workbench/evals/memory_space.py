"""A place in memory for small databases of the embedded server.

To create a database Postgres copies some 300 files. On the disk of a virtual machine that takes about 150 ms, in a file
system that lies in memory about 15: what makes 200 cases that each bring their own tables a matter of seconds. Linux
keeps such a file system at /dev/shm. Only small scripts go there, only where there is plenty of room, and what turns
out not to fit is loaded on the disk instead (``Server``). A crash of Postgres loses nothing: the memory is not its own.

    folder = make_folder("workbench-postgres-123-", "pgserver")     # None where there is no such place
    connection.execute(f"CREATE TABLESPACE {TABLESPACE} LOCATION '{folder}'")
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

PLACE = Path("/dev/shm")  # noqa: S108 - mkdtemp gives the folder an unguessable name and lets in nobody else
TABLESPACE = "workbench_memory"
OPTIONS = (
    f"TABLESPACE {TABLESPACE} STRATEGY file_copy"  # the other strategy writes the log as well, which is on the disk
)
FREE_BYTES = 2 * 2**30  # of the place and of memory: databases take some 10 MB each, and there are up to two dozen
SCRIPT_LENGTH = 2**20  # characters; a longer script makes more than a small database


def make_folder(prefix: str, owner: str | None) -> Path | None:
    """A new folder in memory, or ``None`` where there is too little room or no such place.

    Args:
        prefix: of its name.
        owner: system user it is to belong to; ``None`` leaves it as it is.
    """
    import psutil

    try:
        if min(shutil.disk_usage(PLACE).free, psutil.virtual_memory().available) < FREE_BYTES:
            return None
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=PLACE))
    except OSError:
        return None
    try:
        if owner:
            shutil.chown(folder, user=owner)
    except (OSError, LookupError):
        folder.rmdir()
        return None
    return folder
