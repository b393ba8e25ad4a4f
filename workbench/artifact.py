"""Artifacts: a folder with the weights and a manifest that says what they are.

What bears an artifact's name is whole, whatever happened on the way: see ``workbench/storage.py``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError
from workbench.package_files import MANIFEST, UNLISTED, check_names
from workbench.whole_file import partial_of, write_whole

MANIFEST_NAME = MANIFEST
MANIFEST_VERSION = 1
_PIECE_BYTES = 1 << 20


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
        recipe: the recipe but for its accuracy gate, options completed.
        source: id, revision and digest of the checkpoint; of a package also its files' digests.
        files: every file but the manifest and, of a package, what covers the manifest (``package_files.UNLISTED``).
        weight_bytes: bytes of the weight files.
        parameters: number of weights, tied ones once.
        bits_per_weight: ``8 * weight_bytes / parameters``.
        tool_versions: libraries that took part.
        build_key: digest of source, recipe and tool versions; equal keys mean equal artifacts.
        details: what the format wants to say, e.g. the calibration digest.
        conformance: how its own engine computes beside the source; empty until that was looked at.
        acceptance: what the recipe's accuracy gate said; empty until a build with a gate judged it.
        results: what builds and evaluations found, see ``workbench/package_results.py``; empty until packaged.
        package: of a package: version of its layout, when it was made, and which files were ``generated`` to describe
            the model; empty until packaged.
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
    conformance: dict[str, Any] = field(default_factory=dict)
    acceptance: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    package: dict[str, Any] = field(default_factory=dict)
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
    manifest = read_manifest(path)
    check_sizes(path, manifest.files)
    return Artifact(path, manifest)


def read_manifest(path: Path) -> Manifest:
    """Read an artifact's manifest; its files are not looked at.

    Raises:
        ArtifactError: there is none, or a broken one.
    """
    try:
        return manifest_of(json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8")))
    except OSError as error:
        raise ArtifactError(f"{path} is no artifact (no {MANIFEST_NAME}); build it first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path / MANIFEST_NAME} cannot be understood ({error}); build the artifact again"
        ) from error


def check_sizes(path: Path, files: Iterable[FileEntry]) -> None:
    """See that files are there with their sizes; nothing is read.

    Raises:
        ArtifactError: one is missing or of another size.
    """
    for entry in files:
        file = path / entry.path
        if not file.is_file() or file.stat().st_size != entry.bytes:
            raise ArtifactError(f"{file} is missing or cut short; delete {path} and build it again")


def manifest_of(record: dict[str, Any]) -> Manifest:
    """A manifest from JSON values.

    Raises:
        ValueError, KeyError, TypeError: it is none, or names a file that no artifact may hold.
    """
    files = tuple(FileEntry(**entry) for entry in record["files"])
    check_names([*(entry.path for entry in files), *UNLISTED])
    return Manifest(**{**record, "files": files})


def seal(folder: Path, manifest: Manifest, digests: Mapping[str, str] | None = None) -> Manifest:
    """List the folder's files with their digests and write the manifest; returns it completed.

    Args:
        folder: holds the finished files.
        manifest: everything but ``files``.
        digests: sha256 of files that were hashed while they were written, by their name.
    """
    partial_of(folder / MANIFEST_NAME).unlink(missing_ok=True)  # of a run that was killed while it sealed
    known = digests or {}
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
    entries = tuple(
        FileEntry(name, (folder / name).stat().st_size, known.get(name) or sha256_file(folder / name))
        for name in names
        if name not in UNLISTED
    )
    complete = dataclasses.replace(manifest, files=entries)
    write_manifest(folder, complete)
    return complete


def manifest_text(manifest: Manifest) -> str:
    """A manifest as its file holds it."""
    return json.dumps(dataclasses.asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest, in place of an older one; what vouched for other contents (``UNLISTED``) goes."""
    text = manifest_text(manifest)
    file = folder / MANIFEST_NAME
    if file.is_file() and file.read_bytes() == text.encode("utf-8"):
        return
    for name in UNLISTED:
        if name != MANIFEST_NAME:
            (folder / name).unlink(missing_ok=True)
    write_whole(file, text)


def known_files(folder: Path) -> set[str]:
    """Names of the files an artifact may hold, listed or not; empty for a folder that is no artifact."""
    try:
        record = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        described = record.get("package", {}).get("generated", ())  # also of a run that was killed while it packaged
        return {*UNLISTED, *(str(entry["path"]) for entry in record["files"]), *map(str, described)}
    except OSError:
        return set()
    except (ValueError, KeyError, TypeError, AttributeError):
        return set(UNLISTED)


def model_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """The files of the model itself, without those that a package adds to describe it."""
    generated = manifest.package.get("generated", ())
    return tuple(entry for entry in manifest.files if entry.path not in generated)


def sha256_file(path: Path, heard: Callable[[int], None] | None = None) -> str:
    """Hex sha256 of a file, read in pieces.

    Args:
        path: of the file.
        heard: is told the size of each piece, in bytes, as it is read.
    """
    state = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(_PIECE_BYTES):
            state.update(piece)
            if heard:
                heard(len(piece))
    return state.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
