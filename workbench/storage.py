"""Disks: a folder that appears whole or not at all, one worker at a time, and the sentences for a disk that refuses.

What is made grows in a hidden folder beside its final place (``.name.partial``) with a journal of what is finished
(``.name.journal``), and is renamed when whole. A run that was killed, or ran out of disk, leaves both
behind, and the next run of the same work goes on from there. A lock (``.name.lock``, held by the operating system and
so released when its holder dies, however it dies) lets a second run of the same work wait for the first.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import StorageError, WorkbenchError
from workbench.journal import Journal
from workbench.sizes import size_text

_REASONS = {
    errno.ENOSPC: "the disk of {path} is full; free some space",
    errno.EDQUOT: "the disk quota for {path} is used up; free some space",
    errno.EROFS: "{path} is on a read-only disk; mount it writable",
    errno.EACCES: "{path} may not be written by this user; change its permissions",
    errno.EPERM: "{path} may not be written by this user; change its permissions",
    errno.ENOTDIR: "{path} lies below a file, not a folder; move that file",
}


@dataclass(frozen=True)
class Stage:
    """A folder to fill and the journal of what is finished in it."""

    folder: Path
    journal: Journal


@contextmanager
def staged(final: Path, key: str = "", kept: tuple[type[Exception], ...] = ()) -> Iterator[Stage]:
    """A folder to fill; it takes the final name when the block ends well.

    What an earlier run of the same key left half-made is handed over. If this one ends early for a reason outside
    (the disk, Ctrl-C) and something is finished, it is left for the next; after any other error it vanishes.

    Args:
        final: the folder's name when it is whole.
        key: of the work: another key's left-overs are deleted.
        kept: further errors whose reason lies outside, such as a lost connection.

    Raises:
        StorageError: the disk is full, read-only or may not be written. Other errors pass unchanged.
    """
    partial, notes = final.with_name(f".{final.name}.partial"), final.with_name(f".{final.name}.journal")
    journal = Journal(notes, key)
    keep = False
    outside: tuple[type[BaseException], ...] = (KeyboardInterrupt, StorageError, *kept)
    try:
        if not journal.entries:
            _remove(partial, notes)
        partial.mkdir(parents=True, exist_ok=True)
        yield Stage(partial, journal)
        _replace_folder(partial, final)
    except OSError as error:
        if error.errno not in _REASONS:
            raise  # no fault of the disk: a network error, say, or a file that was not found
        keep = True
        raise storage_error(error, final) from error
    except outside:
        keep = True
        raise
    finally:
        if not (keep and journal.entries):
            _remove(partial, notes)


def _remove(partial: Path, notes: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    if notes.parent.is_dir():
        notes.unlink(missing_ok=True)


def _replace_folder(partial: Path, final: Path) -> None:
    """Put a folder in place of another; a rename cannot replace a full folder, so the old one moves away first."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    try:
        partial.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(final: Path, waiting: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the right to make ``final``; another process that holds it is waited for.

    Args:
        final: what is to be made.
        waiting: hears once that, and for whom, this process waits.

    Raises:
        StorageError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    check_writable(final.parent)
    lock = FileLock(final.with_name(f".{final.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(f"another run is making {final}; waiting for it to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def check_space(folder: Path, needed_bytes: int, present_bytes: int = 0) -> None:
    """Refuse work that the disk cannot hold, before it begins.

    Args:
        folder: an existing folder on the disk.
        needed_bytes: what the work will write.
        present_bytes: how much of that lies there already.

    Raises:
        StorageError: too little is free.
    """
    free, needed = shutil.disk_usage(folder).free, needed_bytes - present_bytes
    if needed > free:
        raise StorageError(
            f"the disk of {folder} is full: {size_text(needed)} are needed and {size_text(free)} are free; "
            "free some space or choose another folder with --out"
        )


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def storage_error(error: OSError, path: Path, way: str = "choose another folder with --out") -> StorageError:
    """The user's sentence for an operating-system error while writing below ``path``.

    Args:
        error: what the system said.
        path: what was written.
        way: what else the user can do.
    """
    reason = _REASONS.get(error.errno or 0)
    if reason is None:
        return StorageError(f"{path} cannot be written ({error.strerror or error}); {way}")
    return StorageError(f"{reason.format(path=path)} or {way}")


def check_writable(folder: Path) -> None:
    """Make a folder and see that it can be written: fail before the work, not after it.

    Raises:
        StorageError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # without a name where the system can: a kill leaves nothing
            pass
    except OSError as error:
        raise storage_error(error, folder) from error


def check_ours(folder: Path, known: Callable[[Path], set[str]]) -> None:
    """Refuse to replace a folder that holds files of somebody else.

    Args:
        folder: what would be replaced.
        known: names (relative, POSIX) of the files that may be lost.

    Raises:
        WorkbenchError: it holds another file, or is a file itself.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise WorkbenchError(f"{folder} is a file; choose another folder with --out")
    ours = known(folder)
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if not file.is_dir() and name not in ours:
            raise WorkbenchError(f"{folder} holds {name}, which is not ours to replace; choose a new folder with --out")
