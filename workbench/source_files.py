"""The files an artifact was made of, by name and sha256, for its manifest: so anybody can see that theirs are the same.

A file of a Hub repository needs no reading: the Hub names large ones by their sha256, and its client stores them under
that name. A folder's files are read once and their digests remembered by size and times
(``workbench/digest_memory.py``), for 31 GB take minutes. Looked for is only what is on this machine; where the source
is not, or not any more the one that was converted, the manifest says so instead::

    "files": [{"path": "config.json", "bytes": 764, "sha256": "8dc8..."}, ...]
    "files": [], "files_reason": "the source was not at hand when this was packaged"
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from workbench import digest_memory
from workbench.artifact import sha256_file, sha256_json
from workbench.checkpoint import Checkpoint, local_checkpoint
from workbench.checkpoint_files import CONFIG
from workbench.errors import ArtifactError, CheckpointError
from workbench.progress import Listener

_BLOB = re.compile(r"[0-9a-f]{64}")  # the Hub's cache: a large file's sha256; small ones have Git's 40 digits
MISSING = "the source was not at hand when this was packaged"


def find_source(source: dict[str, Any], wanted: str | None, listener: Listener) -> Checkpoint | None:
    """The checkpoint an artifact was made of, if it lies on this machine and is still the same.

    Args:
        source: of the manifest.
        wanted: folder or Hub id where the user says it is; ``None``: where the manifest says.
        listener: hears why it was not found.

    Raises:
        ArtifactError: what the user named is not there, or is another model.
    """
    model = wanted or str(source["id"])
    revision = None if wanted and "@" in wanted else source.get("revision")
    try:
        checkpoint = local_checkpoint(model, revision)
        if checkpoint is None:
            raise CheckpointError(f"the source {model} is not on this machine")
        if checkpoint.known_digest() is None:
            listener.note(f"reading the source {model} once, to see that it is the one that was converted")
        if checkpoint.digest != source["digest"]:
            raise CheckpointError(f"the source {model} is not the one that was converted")
    except CheckpointError as error:
        if wanted:
            raise ArtifactError(f"{error}; give --source the checkpoint that the artifact was made of") from error
        listener.note(f"{error}; without it the package cannot name its files (give --source PATH)")
        return None
    return checkpoint


def source_files(checkpoint: Checkpoint, listener: Listener) -> list[dict[str, Any]]:
    """Name, size and sha256 of a checkpoint's config, tokenizer and weights, by name."""
    weights = sorted({info.file for info in checkpoint.tensors.values()})
    files = sorted({checkpoint.path / CONFIG, *checkpoint.small_files(), *weights})
    total, done = sum(file.stat().st_size for file in files), 0
    found = []
    for file in files:
        found.append(
            {
                "path": file.relative_to(checkpoint.path).as_posix(),
                "bytes": file.stat().st_size,
                "sha256": _digest(file),
            }
        )
        done += file.stat().st_size
        listener.advance("bytes", done, total)
    return found


def _digest(file: Path) -> str:
    """sha256 of a file: its name in the Hub's cache, what an earlier run found, or read now."""
    blob = file.resolve()
    if file.is_symlink() and blob.parent.name == "blobs" and _BLOB.fullmatch(blob.name):
        return blob.name
    stat = blob.stat()
    identity = sha256_json([str(blob), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    known = digest_memory.recall(identity, "files")
    if known is None:
        known = sha256_file(blob)
        digest_memory.remember(identity, known, "files")
    return known
