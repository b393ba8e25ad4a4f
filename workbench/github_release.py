"""``workbench release``: attach what describes and proves packages to a GitHub release.

A release that is not there is made as a draft, filled, and shown when it is whole; one that is there is completed. A
file that it holds already, by size and sha256, is kept; one that a broken upload left half (GitHub calls its state
``starter``) or that differs is replaced. So running again after a failure does what is left to do.

    python -m workbench release v1.0.0 artifacts/sqlcoder-nano/gguf-q4_k_m --repository me/models --dry-run

The token is ``GITHUB_TOKEN`` with ``contents: write``. The tag has to be there, or GitHub would put it on any commit.
https://docs.github.com/rest/releases
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from workbench.errors import WorkbenchError
from workbench.github_api import GitHub
from workbench.package_files import MANIFEST
from workbench.progress import SILENT, Listener
from workbench.release_files import Asset, notes, other_assets, package_assets, with_sums
from workbench.sizes import size_text

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_TAG = re.compile(r"(?!-)[\w.+@/-]+", re.ASCII)


@dataclass(frozen=True)
class ReleaseRequest:
    """What the user asked to be released.

    Attributes:
        tag: of the release; it exists.
        packages: folders, or their manifests (a shell finds these where folders are mixed: store/*/manifest.json).
        repository: ``OWNER/NAME``.
        notes: file with the text in Markdown; ``None`` lets the packages say what they are.
        draft: leave it to a person to show the release.
        dry_run: say what would be attached, and ask nothing of GitHub.
        weights: attach every file of the packages.
        file: further files, such as a wheel.
    """

    tag: str
    packages: tuple[Path, ...] = ()
    repository: str = ""
    notes: Path | None = None
    draft: bool = False
    dry_run: bool = False
    weights: bool = False
    file: tuple[Path, ...] = ()


def release(request: ReleaseRequest, listener: Listener = SILENT, github: GitHub | None = None) -> str:
    """Make or complete a release.

    Returns:
        Its page's address; empty after a dry run.

    Raises:
        ArtifactError: a package is not whole; nothing was sent.
        PrerequisiteError: no token, or one that may not do this.
        WorkbenchError: GitHub refuses, or cannot be reached.
    """
    _check(request)
    folders = [path.parent if path.name == MANIFEST else path for path in request.packages]
    assets = [one for folder in folders for one in package_assets(folder, request.weights)]
    assets += other_assets(request.file)
    text = _notes(request.notes, folders)
    if request.dry_run:
        _rehearse(request, with_sums(assets), listener)
        return ""
    github = github or GitHub.from_environment()
    listener.step(f"Release {request.tag} of {request.repository}")
    filled = _Release(github, request, text)
    filled.fill(assets, listener)
    address = filled.show()
    listener.note(address)
    return address


def _check(request: ReleaseRequest) -> None:
    if not _REPOSITORY.fullmatch(request.repository):
        raise WorkbenchError(f"{request.repository!r} is no repository; give --repository OWNER/NAME")
    if not _TAG.fullmatch(request.tag) or ".." in request.tag:
        raise WorkbenchError(f"{request.tag!r} is no tag; give one such as v1.0.0")
    if not request.packages and not request.file:
        raise WorkbenchError("there is nothing to release; name packages, or files with --file")


def _notes(file: Path | None, folders: Sequence[Path]) -> str:
    if file is None:
        return notes(folders)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"the notes {file} cannot be read; correct --notes") from error


def _rehearse(request: ReleaseRequest, assets: Sequence[Asset], listener: Listener) -> None:
    size = size_text(sum(one.size for one in assets))
    listener.step(f"Would release {request.tag} of {request.repository}: {len(assets)} files, {size}")
    for one in assets:
        listener.note(f"{one.sha256}  {one.name}")


class _Release:
    """A release of GitHub, found or made."""

    def __init__(self, github: GitHub, request: ReleaseRequest, text: str) -> None:
        self._github, self._request = github, request
        self._base = f"repos/{request.repository}"
        self._missing = (
            f"GitHub shows no {request.repository} to this token; correct --repository, or give a token that may see it"
        )
        self._new = {"tag_name": request.tag, "name": request.tag, "body": text, "draft": True}
        self._record: dict[str, Any] = self._find() or self._make()

    def _find(self) -> dict[str, Any] | None:
        """The release of the tag; a draft is only found in the list."""
        found = self._github.pages(f"{self._base}/releases", self._missing)
        return next((one for one in found if one["tag_name"] == self._request.tag), None)

    def _make(self) -> dict[str, Any]:
        tag = self._request.tag
        if self._github.call("GET", f"{self._base}/git/ref/tags/{quote(tag)}") is None:
            raise WorkbenchError(
                f"{self._request.repository} has no tag {tag}; make it first: git tag {tag} && git push origin {tag}"
            )
        made = self._github.call(
            "POST", f"{self._base}/releases", self._missing, recover=self._find, json=self._new
        )  # two drafts of one tag may be: it is looked for before a second try
        return dict(made)

    def fill(self, assets: Sequence[Asset], listener: Listener) -> None:
        """Upload what is not there, and last the sums over all."""
        present = {one["name"]: one for one in self._assets()}
        ours = {one.name for one in assets}
        others = [
            (name, str(one["digest"]).removeprefix("sha256:"))
            for name, one in present.items()
            if name not in ours and one["state"] == "uploaded" and one.get("digest")
        ]
        for one in with_sums(assets, others):
            there = present.get(one.name)
            if there and _equal(there, one):
                listener.note(f"{one.name}: there already")
                continue
            if there:
                self._delete(there)
            self._upload(one)
            listener.note(f"{one.name}: {size_text(one.size)}" + (", replaced" if there else ""))

    def show(self) -> str:
        """Show a draft to everybody unless it shall stay one; returns the page's address."""
        if self._record["draft"] and not self._request.draft:
            where = f"{self._base}/releases/{self._record['id']}"
            self._record = self._github.call("PATCH", where, self._missing, json={"draft": False})
        return str(self._record["html_url"])

    def _assets(self) -> Iterator[dict[str, Any]]:
        return self._github.pages(f"{self._base}/releases/{self._record['id']}/assets", self._missing)

    def _delete(self, there: dict[str, Any]) -> None:
        self._github.call("DELETE", f"{self._base}/releases/assets/{there['id']}")  # 404: gone already

    def _upload(self, one: Asset) -> None:
        def opened() -> IO[bytes]:
            return one.path.open("rb") if one.path else io.BytesIO(one.text)

        def recover() -> dict[str, Any] | None:
            """What a failed try left: whole, or half and taken away."""
            left = next((there for there in self._assets() if there["name"] == one.name), None)
            if left and _equal(left, one):
                return left
            if left:
                self._delete(left)
            return None

        got = self._github.call(
            "POST",
            str(self._record["upload_url"]).partition("{")[0],
            self._missing,
            recover=recover,
            params={"name": one.name},
            headers={"Content-Type": "application/octet-stream"},
            body=opened,
        )
        if not _equal(got, one):
            raise WorkbenchError(f"GitHub holds {one.name} otherwise than it was sent; run again, it is replaced")


def _equal(there: dict[str, Any], one: Asset) -> bool:
    """Whether GitHub holds an asset; of old ones it knows the size alone."""
    digest = there.get("digest")
    same = digest is None or digest == f"sha256:{one.sha256}"
    return there["state"] == "uploaded" and there["size"] == one.size and same
