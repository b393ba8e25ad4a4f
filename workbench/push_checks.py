"""Before anything of an artifact is sent: is it whole, complete, unaltered, fit to bear its name, free of secrets?

Sent is a package (``workbench/package.py``): an artifact that is none yet, or that changed since, is packaged first. A
verdict of its accuracy gate stands in the manifest and in the results that it carries; either may say ``refuted``, so
that taking it out of one place hides nothing. Files that no package should hold (settings, logs, caches, what a killed
run left) are refused by their names, and secrets by what the files say (``workbench/secret_scan.py``).

    checked = check(Path("artifacts/sqlcoder-nano/gguf-q4_k_m"), lambda manifest: "me/nano", False, False, listener)
    checked.contents["manifest.json"].sha256
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.artifact import Artifact, Manifest, open_artifact, sha256_file
from workbench.errors import ArtifactError
from workbench.package import PackageRequest, package
from workbench.package_files import BOM, CARD, EVAL_RESULTS, MANIFEST, PROVENANCE, UNLISTED
from workbench.package_folder import check_digests
from workbench.progress import Listener
from workbench.report import is_refuted
from workbench.secret_scan import scan_file

_NEVER_SENT = re.compile(
    r".*\.(?:log|tmp|temp|bak|swp|partial|incomplete|lock|journal|pyc|new|old|env)|__pycache__|.*~", re.IGNORECASE
)
Home = Callable[[Manifest], str]
_UNKNOWN = ("", "unknown", "NOASSERTION", "other")


@dataclass(frozen=True)
class Content:
    """Bytes that shall lie somewhere: a file of this machine, or a text made here.

    Attributes:
        source: where they are, or the bytes themselves.
        bytes: how many.
        sha256: their digest in hex.
    """

    source: Path | bytes
    bytes: int
    sha256: str

    @cached_property
    def git_id(self) -> str:
        """The name that Git gives them: sha1 over their kind, their number and themselves."""
        digest = hashlib.sha1(b"blob %d\0" % self.bytes, usedforsecurity=False)
        with io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    @property
    def pointer_id(self) -> str:
        """The name that Git gives the pointer that stands for them in Git LFS (git-lfs, docs/spec.md)."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.bytes}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class CheckedPackage:
    """A package that may be sent: its files by name, and what speaks against it, if that was overruled."""

    artifact: Artifact
    contents: dict[str, Content]
    objection: str | None

    @property
    def manifest(self) -> Manifest:
        """The artifact's."""
        return self.artifact.manifest


def content_of(text: str) -> Content:
    """A text that is made here."""
    data = text.encode("utf-8")
    return Content(data, len(data), hashlib.sha256(data).hexdigest())


def check(folder: Path, home: Home, force: bool, dry_run: bool, listener: Listener) -> CheckedPackage:
    """Look at an artifact, and package it where it is no package yet.

    Args:
        folder: the artifact's.
        home: the repository it will lie in, by its manifest; a card that is written now shows it.
        force: let one through that its gate refuted or that does not conform.
        dry_run: change nothing, also not the artifact's folder.
        listener: hears what was done and what speaks against it.

    Raises:
        ArtifactError: it is not whole, altered, refuted, or holds what nobody should get.
    """
    artifact = open_artifact(folder)
    _refuse_strangers(artifact)
    artifact = _packaged(artifact, home(artifact.manifest), dry_run, listener)
    _refuse_strangers(artifact)
    reason = objection(artifact)
    if reason and not force:
        raise ArtifactError(f"{folder} {reason}; give --force to upload it all the same")
    contents = _contents(artifact, listener)
    _refuse_secrets(artifact.path, contents)
    _tell(artifact, reason, listener)
    return CheckedPackage(artifact, contents, reason)


def objection(artifact: Artifact) -> str | None:
    """Why an artifact should not bear its model's name, as the end of a sentence; ``None`` if nothing is known.

    Both the manifest's own verdicts and those of the results that it carries are asked.
    """
    manifest = artifact.manifest
    records = [one.get("artifact", {}) for one in manifest.results.get("reports", [])]
    conformances = [manifest.conformance, *(one.get("conformance") or {} for one in records)]
    if any(one.get("passed") is False for one in conformances):
        return "does not compute what its source computes (see conformance in its manifest)"
    for verdict in (manifest.acceptance, *(one.get("acceptance") or {} for one in records)):
        if is_refuted(verdict):
            return f"was refuted by its accuracy gate: {verdict.get('reason', 'no reason given')}"
    return None


def is_packaged(artifact: Artifact) -> bool:
    """Whether a folder is a package whose proof speaks of the manifest as it is now."""
    listed = {entry.path for entry in artifact.manifest.files}
    if not artifact.manifest.package or not {CARD, BOM} <= listed:
        return False
    try:
        statement = json.loads((artifact.path / PROVENANCE).read_text(encoding="utf-8"))
        digests = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(digests.get(MANIFEST) == sha256_file(artifact.path / MANIFEST))


def _packaged(artifact: Artifact, repository: str, dry_run: bool, listener: Listener) -> Artifact:
    if is_packaged(artifact):
        return artifact
    if dry_run:
        listener.note(f"{artifact.path} is no package yet, or changed since: push would package it first")
        return artifact
    listener.note(f"{artifact.path} is no package yet, or changed since: it is packaged first")
    done = package(PackageRequest(artifact.path, repository=repository), listener)
    if not is_packaged(done):
        raise ArtifactError(f"{artifact.path} changed while it was packaged; run again when nothing else writes there")
    return done


def _refuse_strangers(artifact: Artifact) -> None:
    for entry in artifact.manifest.files:
        parts = PurePosixPath(entry.path).parts
        rest = parts[1:] if parts[0] == EVAL_RESULTS else parts
        if any(part.startswith(".") or _NEVER_SENT.fullmatch(part) for part in rest):
            raise ArtifactError(
                f"{artifact.path / entry.path} is nothing that a package should hold; delete it and run: "
                f"workbench package {artifact.path}"
            )


def _contents(artifact: Artifact, listener: Listener) -> dict[str, Content]:
    """Every file of the package, held against its digest."""
    files = artifact.manifest.files
    for file in (artifact.path / entry.path for entry in files):
        if not file.resolve().is_relative_to(artifact.path.resolve()):
            raise ArtifactError(f"{file} is a link out of the artifact's folder; put the file itself there")
    check_digests(artifact.path, files, listener)
    found = {entry.path: Content(artifact.path / entry.path, entry.bytes, entry.sha256) for entry in files}
    for file in (artifact.path / name for name in UNLISTED):
        if file.is_file():
            data = file.read_bytes()
            found[file.name] = Content(data, len(data), hashlib.sha256(data).hexdigest())
    return found


def _refuse_secrets(folder: Path, contents: dict[str, Content]) -> None:
    lines = [
        f"{folder / name}, line {finding.line}: {finding.kind}"
        for name in contents
        for finding in scan_file(folder / name)
    ]
    if lines:
        raise ArtifactError(
            "nothing was sent, for there are secrets in it; take them out, revoke them if anybody may have seen them, "
            "and package again:" + "".join(f"\n  - {line}" for line in lines)
        )


def _tell(artifact: Artifact, reason: str | None, listener: Listener) -> None:
    """What the user should know of what is about to be sent."""
    manifest = artifact.manifest
    if reason:
        listener.note(f"UPLOADED BY --force ALTHOUGH IT SHOULD NOT BE: {artifact.name} {reason}")
    for verdict in _verdicts(manifest):
        listener.note(f"{artifact.name}: its accuracy gate: {verdict}")
    licence = manifest.source.get("licence")
    if not isinstance(licence, dict) or str(licence.get("spdx") or "") in _UNKNOWN:
        listener.note(f"{artifact.name}: the licence of its source is not known; see that you may hand it to others")


def _verdicts(manifest: Manifest) -> Iterator[str]:
    said: dict[str, Any] = manifest.acceptance
    if said and not is_refuted(said):
        yield f"{said['verdict']}: {said.get('reason', '')}"
