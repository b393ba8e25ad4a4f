"""Digests of checkpoints remembered between runs, so that 31 GB are hashed once and not at every build.

One small file per checkpoint below the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``). Its name is
the checkpoint's identity: any change of a weight file's place, size or time gives another name, and the digest is
made anew. A folder that cannot be written only costs the time to hash again. Numbers that are dear to compute are
kept the same way, each kind in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

DIGESTS, NUMBERS = r"[0-9a-f]{64}", r"[0-9]{1,18}"  # what may stand in a file


def folder(kind: str = "digests") -> Path:
    """Where the digests, or what else is remembered, are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "workbench" / kind


def recall(identity: str, kind: str = "digests", pattern: str = DIGESTS) -> str | None:
    """The digest remembered for an identity, or ``None``."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = (folder(kind) / identity).read_text(encoding="ascii").strip()
        if re.fullmatch(pattern, text):
            return text
    return None


def remember(identity: str, digest: str, kind: str = "digests") -> None:
    """Keep a digest; written beside and renamed, so that a reader never sees half of it."""
    with contextlib.suppress(OSError):
        folder(kind).mkdir(parents=True, exist_ok=True)
        partial = folder(kind) / f".{identity}.{os.getpid()}"
        partial.write_text(digest + "\n", encoding="ascii")
        partial.replace(folder(kind) / identity)
