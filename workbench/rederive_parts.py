"""A source on the Hub of which only the tensors that were drawn are fetched.

Re-deriving 59 tensors of a large model reads an eighth of it, so an auditor need not fetch 31 GB. Config, tokenizer and
the weight files' headers come first, a few megabytes; the weight files here are sparse, and the values of a tensor are
brought into their place before it is read. The digest over all tensors cannot be had then. Instead the files at the
named commit must be those that the package lists for its source, by sha256: of small files as they came, of weight
files as the Hub tells it; what comes is what the Hub sends for that commit.

Example::

    source = partial_source(manifest, "org/name", commit, folder, listener)
    source.bring(["model.embed_tokens.weight"])
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Manifest
from workbench.checkpoint import Checkpoint, open_copy
from workbench.hub_checkpoint import bring, copy_partly
from workbench.hub_files import PartialCopy
from workbench.progress import Listener
from workbench.rederive_source import UncheckableError, shown, uncheckable
from workbench.sizes import size_text
from workbench.storage import check_space


@dataclass(frozen=True)
class Source:
    """A checkpoint to make parts from.

    Attributes:
        checkpoint: may be read where ``bring`` was called for a tensor.
        copies: its weight files by name; empty where the checkpoint is whole.
    """

    checkpoint: Checkpoint
    copies: dict[str, PartialCopy]

    def bring(self, names: Collection[str], listener: Listener) -> None:
        """Fetch tensors that will be read.

        Raises:
            UncheckableError: the Hub refuses, or the disk is full.
        """
        if not self.copies:
            return
        infos = [self.checkpoint.tensors[name] for name in sorted(set(names))]
        needed = sum(info.nbytes for info in infos)
        listener.note(f"fetches {len(infos)} tensors of the source, {size_text(needed)}")
        with uncheckable():
            check_space(self.checkpoint.path, needed)
            assert self.checkpoint.revision is not None  # of the Hub
            for done, info in enumerate(infos, start=1):
                bring(self.checkpoint.id, self.checkpoint.revision, self.copies, [info])
                listener.advance("tensors fetched", done, len(infos))


def lists_files(manifest: Manifest) -> bool:
    """Whether a package tells its source's files by sha256."""
    return bool(_listed(manifest))


def _listed(manifest: Manifest) -> dict[str, str]:
    """sha256 of the source's files by name, as far as that is what the manifest tells."""
    files = manifest.source.get("files")
    entries = [entry for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []
    return {str(entry.get("path")): str(entry.get("sha256")) for entry in entries}


def partial_source(manifest: Manifest, name: str, commit: str, folder: Path, listener: Listener) -> Source:
    """The head of a source on the Hub.

    Args:
        manifest: of the package.
        name: ``org/name``.
        commit: full hash.
        folder: empty; gets the source's files.
        listener: hears what is fetched.

    Raises:
        UncheckableError: the Hub refuses, or holds other files than the package lists.
    """
    listener.note(f"reads the head of {name} at {commit[:12]} on the Hub; of its weights only what is drawn is fetched")
    with uncheckable():
        try:
            copies = copy_partly(name, commit, folder)
        except ValueError as error:
            raise UncheckableError(f"{name} holds a file that cannot lie here: {shown(str(error))}") from error
        checkpoint = open_copy(folder, name, commit)
    listed = _listed(manifest)
    found = {**checkpoint.small_digests(), **{file: copy.etag or "" for file, copy in copies.items()}}
    others = sorted(file for file, digest in found.items() if listed.get(file) != digest)
    if others:
        raise UncheckableError(
            f"{name} at {commit[:12]} has another {others[0]} than the package lists for its source; "
            "give --source the checkpoint it was made of"
        )
    return Source(checkpoint, copies)
