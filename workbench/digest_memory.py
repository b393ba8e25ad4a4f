"""Digests of checkpoints remembered between runs, so that 31 GB are hashed once and not at every build.

One small file per checkpoint below the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``). Its name is
the checkpoint's identity: any change of a weight file's place, size or time gives another name, and the digest is
made anew. A folder that cannot be written only costs the time to hash again.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


def folder() -> Path:
    """Where the digests are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "workbench" / "digests"


def recall(identity: str) -> str | None:
    """The digest remembered for an identity, or ``None``."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = (folder() / identity).read_text(encoding="ascii").strip()
        if re.fullmatch(r"[0-9a-f]{64}", text):
            return text
    return None


def remember(identity: str, digest: str) -> None:
    """Keep a digest; written beside and renamed, so that a reader never sees half of it."""
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        partial = folder() / f".{identity}.{os.getpid()}"
        partial.write_text(digest + "\n", encoding="ascii")
        partial.replace(folder() / identity)
