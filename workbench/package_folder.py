"""The folder of a package while it is completed: what lies in it, what should, and what it all hashes to.

Nothing comes into a package by accident. What the folder holds beside the artifact's own files and those that a package
adds is either known litter, which is left where it is and never listed, or a stray (a log, notes, a ``.env`` with a
token), and then the user decides: nothing is packaged until it is moved away.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from workbench.artifact import FileEntry, check_sizes, sha256_file
from workbench.errors import ArtifactError
from workbench.package_files import UNLISTED
from workbench.progress import Listener
from workbench.whole_file import partial_of

LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # of file managers
LEFT_BY_TOOLS = (".cache", ".git", ".gitattributes", ".github", ".gitignore")  # the Hub's client and Git
_MOST_NAMED = 5


def check_strays(folder: Path, known: Collection[str]) -> None:
    """Refuse a folder with files that are no part of the package; what a killed run left half-written is deleted.

    Args:
        folder: of the artifact.
        known: names of its files, listed or made by an earlier run.

    Raises:
        ArtifactError: it holds another file, or a link.
    """
    ours = {*known, *UNLISTED}
    for name in ours:
        if (partial := partial_of(folder / name)).is_file():
            partial.unlink()
    strays = sorted(name for name in _names(folder) if name not in ours)
    if strays:
        named = ", ".join(strays[:_MOST_NAMED]) + (" ..." if len(strays) > _MOST_NAMED else "")
        raise ArtifactError(f"{folder} holds {named}, no part of the artifact; move that away, package again")


def _names(folder: Path) -> Iterator[str]:
    """Files below a folder but for litter; a link would bring in what lies elsewhere."""
    for place, folders, files in os.walk(folder):
        top = Path(place) == folder
        folders[:] = [one for one in folders if not (top and one in LEFT_BY_TOOLS)]
        for one in [*folders, *files]:
            if (Path(place) / one).is_symlink():
                raise ArtifactError(f"{Path(place) / one} is a link; put the file itself in its place")
        for file in files:
            if file not in LITTER and not file.startswith("._") and not (top and file in LEFT_BY_TOOLS):
                yield (Path(place) / file).relative_to(folder).as_posix()


def check_digests(folder: Path, files: Iterable[FileEntry], listener: Listener) -> dict[str, str]:
    """Read the model's files and see that they are what the manifest says.

    Returns:
        sha256 of each, by name.

    Raises:
        ArtifactError: one is missing, cut short or altered.
    """
    entries = list(files)
    check_sizes(folder, entries)
    total, done = sum(entry.bytes for entry in entries), 0

    def heard(count: int) -> None:
        nonlocal done
        done += count
        listener.advance("bytes", done, total)

    digests = {}
    for entry in entries:
        digests[entry.path] = sha256_file(folder / entry.path, heard)
        if digests[entry.path] != entry.sha256:
            raise ArtifactError(f"{folder / entry.path} was altered since it was made; build the artifact again")
    return digests
