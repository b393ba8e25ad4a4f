"""``workbench package``: complete an artifact's folder for those it is handed to.

The results of its builds come into the manifest, and everything else of a package is made of the manifest alone, in the
order in which one thing speaks of another: what describes the model, the manifest that lists it, the provenance that
names the manifest, the signature over all. So a package can be made again at any time, with the same bytes.

    python -m workbench package artifacts/sqlcoder-nano/gguf-q4_k_m
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Artifact, Manifest, open_artifact, seal, sha256_file
from workbench.card import card_files
from workbench.errors import ArtifactError
from workbench.licences import licence_files
from workbench.package_files import PROVENANCE, SIGNATURE
from workbench.package_results import collect_results
from workbench.progress import SILENT, Listener
from workbench.storage import locked
from workbench.usage import usage_files
from workbench.whole_file import write_whole

PACKAGE_VERSION = 1


@dataclass(frozen=True)
class PackageRequest:
    """What the user asked to be packaged.

    Attributes:
        artifact: its folder.
        report: reports to carry, files or folders; none means those of the store it lies in.
    """

    artifact: Path
    report: tuple[Path, ...] = ()


def package(request: PackageRequest, listener: Listener = SILENT) -> Artifact:
    """Complete an artifact's folder.

    Raises:
        ArtifactError: a file is not what the manifest says.
        WorkbenchError: a report cannot be used.
    """
    with locked(request.artifact, listener.note):
        artifact = open_artifact(request.artifact)
        listener.step(f"Package {artifact.name} of {artifact.manifest.model}")
        _check_files(artifact)
        manifest = dataclasses.replace(
            artifact.manifest,
            results=collect_results(artifact, request.report),
            package={"version": PACKAGE_VERSION},
        )
        _complete(artifact, manifest)
        return open_artifact(request.artifact)


def _check_files(artifact: Artifact) -> None:
    for entry in artifact.manifest.files:
        if sha256_file(artifact.path / entry.path) != entry.sha256:
            raise ArtifactError(f"{artifact.path / entry.path} was altered since it was made; build the artifact again")


def _complete(artifact: Artifact, manifest: Manifest) -> None:
    """Write what is made of the manifest, list it, and seal."""
    for name in (SIGNATURE, PROVENANCE):  # they vouch for what is about to change
        (artifact.path / name).unlink(missing_ok=True)
    for name, text in generated_files(manifest, artifact.path).items():
        (artifact.path / name).parent.mkdir(exist_ok=True)
        write_whole(artifact.path / name, text)
    seal(artifact.path, manifest)


def generated_files(manifest: Manifest, folder: Path) -> dict[str, str]:
    """Texts of the files that describe an artifact, by name, made of its manifest and its own small files alone."""
    return {
        **usage_files(manifest, folder),
        **licence_files(manifest),
        **card_files(manifest),
    }
