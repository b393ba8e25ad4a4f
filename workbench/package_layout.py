"""What lies in a package's folder, without following where it leads.

A folder from a stranger may hold a link to ``/etc/passwd``, a pipe that never ends, or a second name of a file that is
somebody's own. So it is walked without following links, and only plain files that are nobody else's are ever opened.
What a download leaves beside a package is no stranger: ``.cache/huggingface`` of the Hub's client, ``.gitattributes``
of the Hub. Everything else must be listed in the manifest::

    found = scan(folder)
    found.sizes            # {"config.json": 764, ...}
    found.faults           # ["'weights' leads elsewhere (a symbolic link)"]
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.package_files import UNLISTED, check_names

OF_HUB = ".gitattributes"
OF_CLIENT = (".cache", ".cache/huggingface")
MOST_FILES = 10_000
MOST_DEPTH = 12
_KINDS = (
    (stat.S_ISLNK, "leads elsewhere (a symbolic link)"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)


@dataclass(frozen=True)
class Found:
    """What lies in a folder.

    Attributes:
        sizes: bytes of every plain file that may be opened, by its name in the package.
        faults: one sentence for each thing that no package holds.
    """

    sizes: dict[str, int]
    faults: list[str]


def scan(folder: Path) -> Found:
    """Walk a folder; nothing is opened.

    Raises:
        OSError: the folder cannot be listed.
    """
    sizes: dict[str, int] = {}
    faults: list[str] = []
    for name, status in _entries(folder, "", 0):
        if len(sizes) + len(faults) >= MOST_FILES:
            faults.append(f"there are more than {MOST_FILES} files")
            break
        fault = _fault(status)
        if fault:
            faults.append(f"{shown(name)} {fault}")
        elif not _is_of_download(name):
            sizes[name] = status.st_size
    return Found(sizes, faults)


def _entries(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and depth < MOST_DEPTH:
            yield from _entries(folder / entry.name, f"{prefix}{entry.name}/", depth + 1)
        else:
            yield f"{prefix}{entry.name}", status


def _fault(status: os.stat_result) -> str:
    for is_kind, sentence in _KINDS:
        if is_kind(status.st_mode):
            return sentence
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    if status.st_nlink > 1:
        return "has a second name (a hard link), by which it can be changed unseen; verify a copy of the folder"
    return ""


def _is_of_download(name: str) -> bool:
    return name == OF_HUB or name.startswith(f"{OF_CLIENT[1]}/")


def layout_faults(found: Found, listed: Collection[str]) -> list[str]:
    """What is wrong with a folder's names.

    Args:
        found: in the folder.
        listed: names in its manifest.

    Returns:
        One sentence for each fault.
    """
    faults = list(found.faults)
    try:
        check_names([*listed, *UNLISTED])
    except ValueError as error:
        faults.append(str(error))
    known = {*listed, *UNLISTED}
    faults += [f"{shown(name)} is not listed in the manifest" for name in found.sizes if name not in known]
    return faults


def shown(name: str) -> str:
    """A name as it may be printed: what a terminal would obey, or could not show, is spelled out."""
    return ascii(name[:200])
