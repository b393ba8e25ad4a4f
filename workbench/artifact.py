"""Artifacts: a folder with the weights and a manifest that says what they are.

An artifact is made in a hidden folder beside its final place and renamed when whole, so what
bears the final name is complete, whatever happened on the way.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.errors import ArtifactError, StorageError

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact: path relative to its folder, size and sha256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an artifact is and what it was made from.

    Attributes:
        name: the recipe's name.
        model: short model name, e.g. ``sqlcoder-nano``.
        architecture: the source's ``model_type``.
        prompt: name of the prompt the model was trained on.
        format: the format's name.
        recipe: the whole recipe, options completed.
        source: id, revision and digest of the checkpoint.
        files: every file but the manifest.
        weight_bytes: bytes of the weight files.
        parameters: number of weights, tied ones once.
        bits_per_weight: ``8 * weight_bytes / parameters``.
        tool_versions: libraries that took part.
        build_key: digest of source, recipe and tool versions; equal keys mean equal artifacts.
        details: what the format wants to say, e.g. the calibration digest.
        schema_version: version of this record.
    """

    name: str
    model: str
    architecture: str
    prompt: str
    format: str
    recipe: dict[str, Any]
    source: dict[str, Any]
    files: tuple[FileEntry, ...]
    weight_bytes: int
    parameters: int
    bits_per_weight: float
    tool_versions: dict[str, str]
    build_key: str
    details: dict[str, Any] = field(default_factory=dict)
    schema_version: int = MANIFEST_VERSION


@dataclass(frozen=True)
class Artifact:
    """A finished artifact on disk."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.manifest.name

    def weight_file(self, suffix: str) -> Path:
        """The one file with this ending.

        Raises:
            ArtifactError: there is none, or more than one.
        """
        found = sorted(self.path.glob(f"*{suffix}"))
        if len(found) != 1:
            raise ArtifactError(
                f"{self.path} holds {len(found)} files ending in {suffix}, expected one; build it again"
            )
        return found[0]


def open_artifact(path: Path) -> Artifact:
    """Read an artifact's manifest and check that its files are there with their sizes.

    Raises:
        ArtifactError: no or a broken manifest, or a file missing or of another size.
    """
    try:
        record = json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8"))
        record["files"] = tuple(_file_entry(entry) for entry in record["files"])
        manifest = Manifest(**record)
    except OSError as error:
        raise ArtifactError(f"{path} is no artifact (no {MANIFEST_NAME}); build it first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path / MANIFEST_NAME} cannot be understood ({error}); build the artifact again"
        ) from error
    for entry in manifest.files:
        file = path / entry.path
        if not file.is_file() or file.stat().st_size != entry.bytes:
            raise ArtifactError(f"{file} is missing or cut short; delete {path} and build it again")
    return Artifact(path, manifest)


def _file_entry(record: dict[str, Any]) -> FileEntry:
    """One entry of a manifest; a path that leaves the artifact's folder is refused."""
    entry = FileEntry(**record)
    path = PurePosixPath(entry.path)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{entry.path} lies outside")
    return entry


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """List the folder's files with their digests and write the manifest; returns it completed."""
    entries = tuple(
        FileEntry(file.relative_to(folder).as_posix(), file.stat().st_size, sha256_file(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / MANIFEST_NAME
    )
    complete = dataclasses.replace(manifest, files=entries)
    text = json.dumps(dataclasses.asdict(complete), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    return complete


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A folder to fill; it takes the final name when the block ends well and vanishes otherwise.

    Raises:
        StorageError: the disk is full, read-only or may not be written. Other errors pass unchanged.
    """
    partial = final.with_name(f".{final.name}.partial-{os.getpid()}")
    try:
        _clear_abandoned(final)
        partial.mkdir(parents=True)
        yield partial
        _replace_folder(partial, final)
    except OSError as error:
        if error.errno not in _STORAGE_REASONS:
            raise  # no fault of the disk: a network error, say, or a file that was not found
        raise storage_error(error, final) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _clear_abandoned(final: Path) -> None:
    """Remove what killed builds of the same artifact left behind: hidden folders of processes that are no more."""
    import psutil

    for kind in ("partial", "old"):
        for left in final.parent.glob(f".{final.name}.{kind}-*"):
            pid = left.name.rsplit("-", 1)[-1]
            if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
                shutil.rmtree(left, ignore_errors=True)


def _replace_folder(partial: Path, final: Path) -> None:
    """Put a folder in place of another; a rename cannot replace a full folder, so the old one moves away first."""
    old = final.with_name(f".{final.name}.old-{os.getpid()}")
    if final.exists():
        final.rename(old)
    try:
        partial.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


_STORAGE_REASONS = {
    errno.ENOSPC: "the disk of {path} is full; free some space",
    errno.EDQUOT: "the disk quota for {path} is used up; free some space",
    errno.EROFS: "{path} is on a read-only disk; mount it writable",
    errno.EACCES: "{path} may not be written by this user; change its permissions",
    errno.EPERM: "{path} may not be written by this user; change its permissions",
    errno.ENOTDIR: "{path} lies below a file, not a folder; move that file",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """The user's sentence for an operating-system error while writing below ``path``."""
    reason = _STORAGE_REASONS.get(error.errno or 0)
    if reason is None:
        return StorageError(f"{path} cannot be written ({error.strerror or error}); choose another folder with --out")
    return StorageError(f"{reason.format(path=path)} or choose another folder with --out")


def check_writable(folder: Path) -> None:
    """Make a folder and see that it can be written: fail before the work, not after it.

    Raises:
        StorageError: it cannot.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise storage_error(error, folder) from error


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
