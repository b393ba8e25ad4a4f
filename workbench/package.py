"""``workbench package``: complete an artifact's folder for those it is handed to.

The results of its builds come into the manifest, and everything else of a package is made of the manifest, in the
order in which one thing speaks of another: what describes the model, the manifest that lists it, the provenance that
names the manifest, the signature over all. So a package can be made again at any time, with the same bytes.

    python -m workbench package artifacts/sqlcoder-nano/gguf-q4_k_m --sign-key models.pem

At every moment the folder is a whole artifact, for a run can be killed at every moment: before a described file
changes, the manifest is written without it; the next run finds the files by the names that the manifest keeps.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import __version__, package_maker
from workbench.artifact import (
    Artifact,
    FileEntry,
    Manifest,
    manifest_of,
    manifest_text,
    model_files,
    open_artifact,
    read_manifest,
    write_manifest,
)
from workbench.bom import bom_text
from workbench.card import card_files
from workbench.errors import ArtifactError
from workbench.licences import NO_LICENCE, UNKNOWN, licence_files, licence_of, recorded_licence
from workbench.package_files import BOM, MANIFEST, PROVENANCE, SIGNATURE, check_names
from workbench.package_folder import check_digests, check_strays
from workbench.package_results import collect_results
from workbench.progress import SILENT, Listener
from workbench.provenance import provenance_text
from workbench.signing import is_signed, sign
from workbench.signing_keys import private_key
from workbench.source_files import MISSING, find_source, source_files
from workbench.storage import locked, storage_error
from workbench.usage import usage_files
from workbench.whole_file import write_whole

PACKAGE_VERSION = 1
AMENDED = ("generation_config.json",)  # of the model, and completed for the package: an alteration would stay in it


@dataclass(frozen=True)
class PackageRequest:
    """What the user asked to be packaged.

    Attributes:
        artifact: its folder.
        report: reports to carry, files or folders; none means those of the store it lies in.
        source: the checkpoint it was made of, a folder or Hub id; ``None`` means what its manifest names.
        sign_key: file of the private key to sign with.
        keyless: sign with a workflow's identity instead.
        repository: ``OWNER/NAME`` it will lie in, for the commands that are shown.
    """

    artifact: Path
    report: tuple[Path, ...] = ()
    source: str | None = None
    sign_key: Path | None = None
    keyless: bool = False
    repository: str | None = None


def package(request: PackageRequest, listener: Listener = SILENT) -> Artifact:
    """Complete an artifact's folder; what is complete already is not touched.

    Raises:
        ArtifactError: a file is not what the manifest says, the folder holds others, or the source is another.
        PrerequisiteError: keyless signing without an identity or the network.
        StorageError: the folder cannot be written.
        WorkbenchError: a report or the key cannot be used.
    """
    if request.sign_key:
        private_key(request.sign_key)  # before anything is read
    before = read_manifest(request.artifact)
    with locked(request.artifact, listener.note):
        listener.step(f"Package {before.name} of {before.model}")
        try:
            return _package(request, read_manifest(request.artifact), listener)
        except OSError as error:
            raise storage_error(error, request.artifact, "package a copy of it elsewhere") from error


def _package(request: PackageRequest, before: Manifest, listener: Listener) -> Artifact:
    folder = request.artifact
    known = _known(folder, before)
    model = model_files(before)
    own = [entry for entry in before.files if entry in model or entry.path in AMENDED]
    check_strays(folder, known)  # a README.md that no package wrote is somebody's own, too
    digests = check_digests(folder, own, listener)
    manifest = _completed(request, before, listener)
    texts = generated_files(manifest, folder)
    sealed = _sealed(manifest, texts, digests)
    _write(folder, before, sealed, texts, known)
    listener.note(f"{len(sealed.files)} files listed in {MANIFEST}, {len(texts)} of them describe the model")
    if recorded_licence(sealed.source)["spdx"] == NO_LICENCE:
        listener.note(f"the licence of {sealed.source['id']} is {UNKNOWN}")
    _vouch(request, {entry.path: entry.sha256 for entry in sealed.files}, listener)
    return open_artifact(folder)


def _known(folder: Path, before: Manifest) -> set[str]:
    """Names of the files that are the artifact's, or that an earlier run wrote or was about to write."""
    known = {entry.path for entry in before.files}
    try:
        known.update(before.package.get("generated", ()))
        check_names(known)
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{folder / MANIFEST} cannot be understood ({error}); build the artifact again") from error
    return known


def _completed(request: PackageRequest, before: Manifest, listener: Listener) -> Manifest:
    """The manifest with all that a package's files are made of, and of files the model's alone."""
    results = collect_results(Artifact(request.artifact, before), request.report)
    if not results["reports"] and before.results.get("reports"):
        results = before.results  # a package that was moved away from its store keeps what it carries
    made = [str(report["made_at"]) for report in results["reports"] if report.get("made_at")]
    about = {
        "version": PACKAGE_VERSION,
        "made_at": max(made, default=None),
        "workbench": __version__,
        package_maker.KEY: package_maker.maker(),
        "repository": request.repository or before.package.get("repository"),
    }
    completed = dataclasses.replace(
        before,
        source=_source(before.source, request.source, listener),
        files=model_files(before),
        results=results,
        package=about,
    )
    return manifest_of(json.loads(manifest_text(completed)))  # as who reads the file has it: lists, keys in order


def _source(source: dict[str, Any], wanted: str | None, listener: Listener) -> dict[str, Any]:
    """The manifest's source with its files and licence; what an earlier run knew stays where it is not at hand now."""
    checkpoint = find_source(source, wanted, listener)
    if checkpoint is None:
        files = {} if source.get("files") else {"files": [], "files_reason": MISSING}
        return {"licence": licence_of(source), **source, **files}
    told = {key: value for key, value in source.items() if key != "files_reason"}
    return {**told, "licence": licence_of(source, checkpoint), "files": source_files(checkpoint, listener)}


def generated_files(manifest: Manifest, folder: Path) -> dict[str, str]:
    """Texts of the files that describe an artifact, by name.

    Args:
        manifest: completed; of its files only the model's are looked at.
        folder: of the artifact, whose small files (tokenizer and generation config) may be read.
    """
    texts = {**usage_files(manifest, folder), **licence_files(manifest)}
    described = _without(manifest, texts)
    return {**texts, **card_files(described), BOM: bom_text(described)}


def _without(manifest: Manifest, texts: Mapping[str, str]) -> Manifest:
    """A manifest without what a package adds to the model's files, before or after it was added."""
    return dataclasses.replace(
        manifest, files=tuple(entry for entry in model_files(manifest) if entry.path not in texts)
    )


def _sealed(manifest: Manifest, texts: Mapping[str, str], digests: Mapping[str, str]) -> Manifest:
    """The manifest that lists every file of the package, those to be written too."""
    kept = [entry for entry in manifest.files if entry.path not in texts]
    if any(digests[entry.path] != entry.sha256 for entry in kept):
        raise ArtifactError("a file was altered while it was packaged; run again")
    made = [
        FileEntry(name, len(text.encode()), hashlib.sha256(text.encode()).hexdigest()) for name, text in texts.items()
    ]
    return dataclasses.replace(
        manifest,
        files=tuple(sorted([*kept, *made], key=lambda entry: entry.path)),
        package={**manifest.package, "generated": sorted(texts)},
    )


def _write(folder: Path, before: Manifest, sealed: Manifest, texts: Mapping[str, str], known: set[str]) -> None:
    """Bring the folder to what the manifest will say; the manifest without the described files stands meanwhile."""
    model = tuple(entry for entry in sealed.files if entry.path not in texts)
    meanwhile = sorted({*known, *texts} - {entry.path for entry in model})
    if before != sealed:
        about = {**sealed.package, "generated": meanwhile}
        write_manifest(folder, dataclasses.replace(sealed, files=model, package=about))
    for name, text in texts.items():
        if not _is(folder / name, text):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, text)
    for name in meanwhile:
        if name not in texts:
            (folder / name).unlink(missing_ok=True)
            _remove_empty(folder, folder / name)
    write_manifest(folder, sealed)


def _is(file: Path, text: str) -> bool:
    return file.is_file() and file.read_bytes() == text.encode("utf-8")


def _remove_empty(folder: Path, file: Path) -> None:
    """Folders within a package that a file has left empty."""
    for place in file.parents:
        if place == folder or not place.is_dir() or any(place.iterdir()):
            return
        place.rmdir()


def _vouch(request: PackageRequest, digests: Mapping[str, str], listener: Listener) -> None:
    """Write the provenance, and the signature where it is asked for."""
    folder = request.artifact
    text = provenance_text((folder / MANIFEST).read_bytes())
    if not _is(folder / PROVENANCE, text):
        write_whole(folder / PROVENANCE, text)
    if request.sign_key or request.keyless:
        made = sign(folder, request.sign_key, request.keyless, digests)
        listener.note("signed" if made else "the signature there is of these files; kept")
    elif (folder / SIGNATURE).exists() and not is_signed(folder, digests):
        (folder / SIGNATURE).unlink()
        listener.note("the signature was of other files and is gone; sign again with --sign-key")
