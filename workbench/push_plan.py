"""What a push writes and takes away, decided by the packages to send and by what the repository holds.

A package at the root takes the place of the one that lies there; GGUF packages lie side by side, and one that is
sent again replaces its own part alone. The card at the root of such a repository speaks of all of them, so the
manifests of the others are read there: anybody may have written them, so they are read as a stranger's. Taken away is
what the package before held, by its own manifest, and this one does not. What else lies in the repository stays.

    plan = plan_push(packages, read_state(api, "me/nano-gguf", None), listener)
    plan.sent, plan.deleted          # nothing of either: it is there already
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.artifact import Manifest
from workbench.card import repository_card
from workbench.errors import ArtifactError, WorkbenchError
from workbench.hub_layout import COPIED, WHOLE, eval_result_copy, is_shared, packages_in, place
from workbench.hub_state import RepositoryState
from workbench.package_files import CARD, MANIFEST, UNLISTED
from workbench.progress import Listener
from workbench.push_checks import CheckedPackage, Content, content_of
from workbench.secret_scan import find_secrets
from workbench.untrusted_manifest import read_manifest

if TYPE_CHECKING:
    from huggingface_hub import RepoFile


@dataclass(frozen=True)
class PushPlan:
    """What a repository shall hold of what is pushed.

    Attributes:
        contents: all of it, by path.
        sent: the paths whose bytes are not there yet.
        deleted: paths that are there and shall not be.
    """

    contents: dict[str, Content]
    sent: tuple[str, ...]
    deleted: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether the repository holds all of it already."""
        return not self.sent and not self.deleted

    def sent_bytes(self) -> int:
        """Bytes of what is sent."""
        return sum(self.contents[path].bytes for path in self.sent)


def plan_push(packages: Sequence[CheckedPackage], state: RepositoryState, listener: Listener) -> PushPlan:
    """Decide what to write.

    Args:
        packages: one, or several that share a repository.
        state: of the repository.
        listener: hears what could not be read there.

    Raises:
        WorkbenchError: they cannot lie where others already do.
        OSError, huggingface_hub.errors.HTTPError: the Hub refuses.
    """
    shared = is_shared(packages[0].manifest.format)
    there = _manifests_there(state, listener)
    _check_neighbours(packages, there, state.repository)
    contents = _placed(packages)
    before = {recipe: one for recipe, one in there.items() if not shared or recipe in _names(packages)}
    others = [one for recipe, one in there.items() if recipe not in before]
    if shared:
        contents |= _root(packages, others, state, listener)
    stale = {path for one in before.values() for path in paths_of(one)} - {p for one in others for p in paths_of(one)}
    deleted = sorted((stale & set(state.files)) - set(contents))
    sent = [path for path, content in contents.items() if not is_there(content, state.files.get(path))]
    return PushPlan(contents, tuple(sorted(sent)), tuple(deleted))


def is_there(content: Content, remote: RepoFile | None) -> bool:
    """Whether a file of the repository has these bytes; not every Hub tells of a large file that it is one."""
    if remote is None or remote.size != content.bytes:
        return False
    if remote.lfs:
        return bool(remote.lfs.sha256 == content.sha256)
    return remote.blob_id in (content.git_id, content.pointer_id)


def paths_of(manifest: Manifest) -> set[str]:
    """Every path of a repository that a package may have: its files, and their copies at the root."""
    names = [*UNLISTED, *(entry.path for entry in manifest.files)]
    paths = {place(manifest.format, manifest.name, name) for name in names}
    if is_shared(manifest.format):
        paths |= {copy for name in names if (copy := eval_result_copy(manifest.name, name))}
    return paths


def _names(packages: Sequence[CheckedPackage]) -> set[str]:
    return {one.manifest.name for one in packages}


def _placed(packages: Sequence[CheckedPackage]) -> dict[str, Content]:
    """Contents by their path in the repository."""
    found: dict[str, Content] = {}
    for one in packages:
        manifest = one.manifest
        for name, content in one.contents.items():
            path = place(manifest.format, manifest.name, name)
            if path in found:
                raise WorkbenchError(
                    f"{path} is the name of files of several packages; push them to repositories of their own"
                )
            found[path] = content
            copy = eval_result_copy(manifest.name, name) if is_shared(manifest.format) else None
            if copy:
                found[copy] = content
    return found


def _root(
    packages: Sequence[CheckedPackage], others: Sequence[Manifest], state: RepositoryState, listener: Listener
) -> dict[str, Content]:
    """What speaks of the whole repository: its card, and files that are its packages' alike.

    Of those, the package whose recipe comes first in the alphabet gives its own, whichever are sent now: else two
    packages that differ in one would take turns.
    """
    own = {one.manifest.name: one.contents for one in packages}
    found = {CARD: content_of(_card([one.manifest for one in packages], others, state.repository, listener))}
    for name in COPIED:
        holders = {recipe for recipe, contents in own.items() if name in contents}
        first = min(holders | {one.name for one in others if name in _listed(one)}, default="")
        if first in holders or (holders and name not in state.files):
            found[name] = own[first if first in holders else min(holders)][name]
    return found


def _listed(manifest: Manifest) -> set[str]:
    return {entry.path for entry in manifest.files}


def _card(own: Sequence[Manifest], others: Sequence[Manifest], repository: str, listener: Listener) -> str:
    """The card over all packages; over ours alone, where what others wrote there cannot stand in a card."""
    try:
        return _clean_card([*own, *others], repository)
    except ArtifactError:
        if not others:
            raise
    names = ", ".join(one.name for one in others)
    listener.note(f"what the repository says of {names} cannot stand in a card; its card leaves them out")
    return _clean_card(own, repository)


def _clean_card(manifests: Sequence[Manifest], repository: str) -> str:
    text = repository_card(manifests, repository)
    if kinds := find_secrets(text):
        raise ArtifactError(f"nothing was sent, for the repository's card would hold {kinds[0]}; package again")
    return text


def _manifests_there(state: RepositoryState, listener: Listener) -> dict[str, Manifest]:
    """Manifests of the packages in the repository, by recipe; one that cannot be understood is left out and told."""
    found = {}
    for recipe, prefix in packages_in(state.files).items():
        where = f"{prefix}{MANIFEST}"
        try:
            manifest = _manifest(state.read(where))
            if recipe not in (WHOLE, manifest.name) or is_shared(manifest.format) != (recipe != WHOLE):
                raise ArtifactError("it is of another package")
        except ArtifactError:
            listener.note(f"{where} of {state.repository} is no manifest; what it may speak of stays as it is there")
            continue
        found[recipe] = manifest
    return found


def _manifest(data: bytes) -> Manifest:
    with tempfile.TemporaryDirectory(prefix="workbench-push-") as scratch:
        file = Path(scratch) / MANIFEST
        file.write_bytes(data)
        return read_manifest(file)


def _check_neighbours(packages: Sequence[CheckedPackage], there: Mapping[str, Manifest], repository: str) -> None:
    shared, first = is_shared(packages[0].manifest.format), packages[0].manifest
    if shared and WHOLE in there:
        raise WorkbenchError(
            f"{repository} is a package of the format {there[WHOLE].format}; push GGUF packages to a repository of "
            f"their own, such as {repository}-gguf"
        )
    if not shared and there and WHOLE not in there:
        raise WorkbenchError(
            f"{repository} holds GGUF packages; push {first.name} to a repository of its own, such as "
            f"{repository}-{first.name}"
        )
    strangers = sorted({one.model for one in there.values()} - {first.model})
    if strangers:
        raise WorkbenchError(
            f"{repository} holds {strangers[0]}, and {first.name} is of {first.model}; push it to another repository"
        )
    own = {entry.path: one.manifest.name for one in packages for entry in one.manifest.files}
    for recipe, manifest in there.items():
        if shared and recipe not in _names(packages):
            same = next((e.path for e in manifest.files if e.path in own and e.path.endswith(".gguf")), None)
            if same:
                raise WorkbenchError(
                    f"{repository} holds {same} of {recipe}, and {own[same]} has a file of that name; push it to "
                    "another repository"
                )
