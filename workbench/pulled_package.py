"""A stranger's manifest beside the Hub's listing: which files make up the package, before one of them is fetched.

The manifest says what belongs to the package, the listing what the repository holds. Both may lie, so both must say
the same: every name can be a file's on any system, every file is there, with the size and, where the Hub tells it, the
digest that the manifest promises. Bounds come first: a manifest of a gigabyte is not read, one of a million entries
not believed.

    files_of(listing, "gguf-q4_k_m", "gguf-q4_k_m/", folder / "manifest.json")
    # (PulledFile("nano.Q4_K_M.gguf", "nano.Q4_K_M.gguf", 2621440, "9f..."), PulledFile("gguf-q4_k_m/bom.cdx.json", ...
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import FileEntry, Manifest
from workbench.errors import ArtifactError, VerificationError
from workbench.hub_layout import place
from workbench.hub_listing import Listing
from workbench.package_files import MANIFEST, UNLISTED
from workbench.untrusted_manifest import MOST_BYTES, read_manifest

MOST_COVER_BYTES = 16 << 20  # of provenance and signature, which name every file once


@dataclass(frozen=True)
class PulledFile:
    """A file to fetch.

    Attributes:
        path: in the repository.
        name: within the package.
        size: bytes.
        sha256: of its contents; ``None`` where nothing promises it.
    """

    path: str
    name: str
    size: int
    sha256: str | None


def check_manifest_file(listing: Listing, path: str) -> None:
    """See that a manifest is no larger than one may be.

    Raises:
        VerificationError: it is.
    """
    size = listing.files[path].size
    if not 0 < size <= MOST_BYTES:
        raise VerificationError(f"{path} of {listing.name} has {size} bytes, which no manifest has; do not use it")


def files_of(listing: Listing, recipe: str, prefix: str, manifest_file: Path) -> tuple[PulledFile, ...]:
    """The files of a package but its manifest, small ones first.

    Args:
        listing: of the repository.
        recipe: the package's, ``""`` where any will do.
        prefix: of the package's paths, ``""`` where the repository is one package.
        manifest_file: the manifest as it was fetched.

    Raises:
        ArtifactError: the manifest cannot be understood or promises something impossible.
        VerificationError: manifest and listing do not say the same.
    """
    manifest = _read(manifest_file, f"{prefix}{MANIFEST} of {listing.name}")
    if prefix and recipe != manifest.name:
        raise VerificationError(f"{prefix}{MANIFEST} of {listing.name} is not of {recipe}; do not use it")
    if recipe not in ("", manifest.name):
        raise ArtifactError(f"{listing.name} holds {manifest.name} and nothing else; leave out --recipe")
    found = [_listed(listing, _path(manifest, prefix, entry.path), entry) for entry in manifest.files]
    found += _covers(listing, prefix)
    return tuple(sorted(found, key=lambda file: (file.size, file.name)))


def _path(manifest: Manifest, prefix: str, name: str) -> str:
    return place(manifest.format, manifest.name, name) if prefix else name


def _listed(listing: Listing, path: str, entry: FileEntry) -> PulledFile:
    remote = listing.files.get(path)
    if remote is None:
        raise VerificationError(f"{listing.name} lacks {path}, which its manifest lists; do not use it")
    if remote.size != entry.bytes or remote.sha256 not in (None, entry.sha256):
        what = f"{remote.size} bytes, not {entry.bytes}" if remote.size != entry.bytes else "another digest"
        raise VerificationError(f"{path} of {listing.name} is not what its manifest lists ({what}); do not use it")
    return PulledFile(path, entry.path, entry.bytes, entry.sha256)


def _covers(listing: Listing, prefix: str) -> list[PulledFile]:
    """Provenance and signature, which the manifest cannot list; what they must be is for the checks to say."""
    found = []
    for name in UNLISTED:
        remote = listing.files.get(prefix + name)
        if name == MANIFEST or remote is None:
            continue
        if remote.size > MOST_COVER_BYTES:
            raise VerificationError(f"{prefix}{name} of {listing.name} is too large to be what it should be")
        found.append(PulledFile(prefix + name, name, remote.size, remote.sha256))
    return found


def _read(file: Path, where: str) -> Manifest:
    """A stranger's manifest.

    Raises:
        ArtifactError: it is none; no terminal takes orders from what the message quotes.
    """
    try:
        return read_manifest(file)
    except ArtifactError as error:
        found = "".join(one if one.isprintable() else "?" for one in str(error))
        raise ArtifactError(f"{where} cannot be used: {found}") from error
