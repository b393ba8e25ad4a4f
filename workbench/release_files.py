"""What a GitHub release carries of a package: what describes it and what proves it, under names that do not collide.

The weights lie on the Hub. A release holds for each package its card, bill of materials, provenance, signature and
manifest, which lists every file by sha256, and the reports of its builds; and over all files ``SHA256SUMS``, which
``sha256sum --check --ignore-missing SHA256SUMS`` reads.

A release is one flat folder in which GitHub allows letters, digits, ``.``, ``-`` and ``_`` and puts a dot for the
rest. So a file is called ``<model>.<recipe>.<file>``, with dots put here already: what is looked for under a name is
found under it::

    sqlcoder-nano.gguf-q4_k_m.manifest.json    sqlcoder-nano.gguf-q4_k_m.report.cpu.html    SHA256SUMS
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Artifact, open_artifact, sha256_file
from workbench.errors import ArtifactError, WorkbenchError
from workbench.package_files import BOM, CARD, LICENCE, MANIFEST, NOTICE, PROVENANCE, SIGNATURE
from workbench.package_results import REPORTS
from workbench.push_checks import objection
from workbench.secret_scan import scan_file
from workbench.sizes import size_text

SUMS = "SHA256SUMS"
NEEDED = (CARD, BOM, MANIFEST, PROVENANCE)
CARRIED = (CARD, BOM, MANIFEST, PROVENANCE, SIGNATURE, LICENCE, NOTICE)
PAGES = ("report.html", "report.md", "report.json")
MOST_BYTES = 2 * 2**30 - 1  # GitHub: each file must be under 2 GiB
MOST_FILES = 1000


@dataclass(frozen=True)
class Asset:
    """One file of a release.

    Attributes:
        name: in the release.
        path: on this machine; ``None`` for a text made here.
        size: bytes.
        sha256: hex.
        text: what is uploaded where there is no file.
    """

    name: str
    path: Path | None
    size: int
    sha256: str
    text: bytes = b""


def package_assets(folder: Path, weights: bool) -> list[Asset]:
    """What a release carries of a package.

    Args:
        folder: the package.
        weights: whether every file of it comes along.

    Raises:
        ArtifactError: it is no package, was altered, or may not be handed out.
    """
    artifact = open_artifact(folder)
    if reason := objection(artifact):
        raise ArtifactError(f"{folder} {reason}; it is not released")
    lacking = [name for name in NEEDED if not (folder / name).is_file()]
    if lacking:
        raise ArtifactError(f"{folder} has no {', '.join(lacking)}; complete it first: workbench package {folder}")
    listed = {entry.path: entry.sha256 for entry in artifact.manifest.files}
    names = sorted({*CARRIED, *listed}) if weights else CARRIED
    carried = {name: folder / name for name in names if (folder / name).is_file()}
    found = [asset(f"{_stem(artifact)}.{_flat(name)}", path) for name, path in carried.items()]
    for name, one in zip(carried, found, strict=True):
        if listed.get(name, one.sha256) != one.sha256:
            raise ArtifactError(f"{folder / name} was altered since it was listed; package the artifact again")
    return [*found, *(asset(f"{_stem(artifact)}.{name}", path) for name, path in _reports(artifact))]


def asset(name: str, path: Path) -> Asset:
    """A file under a name of its own.

    Raises:
        WorkbenchError: it is not there, holds a secret, or is larger than GitHub takes.
    """
    if not path.is_file():
        raise WorkbenchError(f"there is no file {path}; correct the path")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise WorkbenchError(
            f"{path} takes {size_text(size)} and GitHub takes files under 2 GiB; leave out --weights, the Hub has them"
        )
    if secrets := scan_file(path):
        raise WorkbenchError(
            f"{path} holds {secrets[0].kind} in line {secrets[0].line}, so nothing was sent; take it out, and revoke "
            "it if anybody may have seen it"
        )
    return Asset(name, path, size, sha256_file(path))


def other_assets(files: Iterable[Path]) -> list[Asset]:
    """Files of their own, such as a wheel, under the names they have."""
    return [asset(_flat(path.name), path) for path in files]


def with_sums(assets: Sequence[Asset], others: Iterable[tuple[str, str]] = ()) -> list[Asset]:
    """The assets and the list of their digests.

    Args:
        assets: to be uploaded.
        others: name and sha256 of what the release holds beside them.

    Raises:
        WorkbenchError: two would bear one name, or there are more than a release may hold.
    """
    names = [one.name for one in assets]
    if len(names) >= MOST_FILES:
        raise WorkbenchError(f"a release holds at most {MOST_FILES} files, and these are {len(names) + 1}")
    if twice := sorted({name for name in names if names.count(name) > 1 or name == SUMS}):
        raise WorkbenchError(f"two files would be called {twice[0]}; give each package once")
    sums = {name: digest for name, digest in others if name != SUMS} | {one.name: one.sha256 for one in assets}
    text = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    return [*assets, _text_asset(SUMS, text)]


def notes(folders: Sequence[Path]) -> str:
    """What a release says of its packages where no notes are given: Markdown, a line each."""
    lines = [_line(open_artifact(folder)) for folder in folders]
    check = f"Check what you downloaded: `sha256sum --check --ignore-missing {SUMS}`."
    return "\n".join([*lines, "", check, ""]) if lines else f"{check}\n"


def _line(artifact: Artifact) -> str:
    manifest = artifact.manifest
    size = f"{size_text(manifest.weight_bytes)}, {manifest.bits_per_weight:.2f} bits a weight"
    gate = f"; accuracy gate: {manifest.acceptance['verdict']}" if manifest.acceptance else ""
    where = manifest.package.get("repository")
    hub = f"; weights: `{where}` on the Hub" if where else ""
    return f"- **{manifest.model} {manifest.name}** ({manifest.format}): {size}{gate}{hub}"


def _reports(artifact: Artifact) -> Iterator[tuple[str, Path]]:
    """The reports that a package carries the results of, where they lie beside it in their store."""
    for record in artifact.manifest.results.get("reports", []):
        profile = str(record["profile"])
        for page in PAGES:
            path = artifact.path.resolve().parent / REPORTS / profile / page
            if "/" not in profile and path.is_file():
                yield f"report.{_flat(profile)}{path.suffix}", path


def _stem(artifact: Artifact) -> str:
    return f"{_flat(artifact.manifest.model)}.{_flat(artifact.name)}"


def _flat(name: str) -> str:
    """A name as GitHub would make it, and without the dot that hides a file."""
    return re.sub(r"[^\w.-]", ".", name, flags=re.ASCII).lstrip(".")


def _text_asset(name: str, text: bytes) -> Asset:
    return Asset(name, None, len(text), hashlib.sha256(text).hexdigest(), text)
