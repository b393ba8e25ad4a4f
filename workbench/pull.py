"""Fetch a package from the Hub, and give it its name only when it is what its manifest says.

A repository may come from anybody, and so may every byte of it. What is fetched is decided by the package's manifest,
and that is looked at before anything else comes: its size, its JSON, the names it lists, their sizes beside those that
the Hub lists, the free disk. Then the package's files alone are fetched, each exactly as large as promised, into a
hidden folder beside the final one, which takes the final name when every check of ``workbench verify`` has passed or
cannot be made here. So a folder that bears the name is whole and right, or is not there. A run that was cut off goes on
where it was; what does not fit its digest vanishes.

    python -m workbench pull me/sqlcoder-nano-gguf --recipe gguf-q4_k_m
    python -m workbench pull me/sqlcoder-nano-int8 --revision v1 --to models/nano --public-key me.pub

The token is the Hub client's own (``hf auth login``, or ``HF_TOKEN``) and goes to the Hub alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Artifact, known_files, open_artifact
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check, require_passed
from workbench.errors import (
    ArtifactError,
    DisconnectedError,
    PrerequisiteError,
    TransferError,
    VerificationError,
    WorkbenchError,
)
from workbench.hub_errors import quiet
from workbench.hub_layout import HUB_ID, WHOLE, belongs_to_root, packages_in
from workbench.hub_listing import Listing, list_repository
from workbench.hub_transfer import fetch_exactly
from workbench.package_files import MANIFEST, UNLISTED
from workbench.progress import SILENT, Listener
from workbench.pulled_package import PulledFile, check_manifest_file, files_of
from workbench.signing import trusted_key
from workbench.sizes import size_text
from workbench.storage import Stage, check_ours, check_space, folder_bytes, locked, staged
from workbench.verify import VerifyRequest, verify_folder

HUBS_OWN = (".gitattributes", ".gitignore")
_OF_BYTES = ("layout", "manifest", "digests")  # checks that fail where a folder is not as it was fetched


@dataclass(frozen=True)
class PullRequest:
    """What the user asked to be fetched.

    Attributes:
        repository: ``owner/name``.
        revision: branch, tag, ``refs/pr/N`` or commit; ``None`` means ``main``.
        recipe: which package, where the repository holds several.
        to: the folder it becomes; ``None`` means the repository's name, and the recipe's behind it.
        public_key: of who should have signed it.
        identity: who should have signed it without a key, such as an address.
        issuer: who vouches for that identity.
    """

    repository: str
    revision: str | None = None
    recipe: str | None = None
    to: Path | None = None
    public_key: Path | None = None
    identity: str | None = None
    issuer: str | None = None


@dataclass(frozen=True)
class _Package:
    """One package of a listing: its recipe (``""`` where anything will do) and the prefix of its paths.

    Where the repository is one package, the prefix is ``""``; else it shares the repository with others.
    """

    listing: Listing
    recipe: str
    prefix: str

    @property
    def title(self) -> str:
        return f"{self.recipe} of {self.listing.name}" if self.prefix else self.listing.name

    @property
    def folder(self) -> Path:
        """What its folder is called if nobody says."""
        name = self.listing.name.partition("/")[2]
        return Path(f"{name}-{self.recipe}" if self.prefix else name)


def pull(request: PullRequest, listener: Listener = SILENT) -> Artifact:
    """Fetch a package.

    Returns:
        The artifact in its folder.

    Raises:
        VerificationError: it is not what it says it is; nothing bears its name.
        ArtifactError: the repository holds no such package.
        PrerequisiteError: no connection, no token, or one that may not read there.
        DisconnectedError: the connection broke off; the next run goes on from there.
        TransferError: the server sends what it should not.
        WorkbenchError: the repository's name is none, or the folder holds something else.
    """
    if not HUB_ID.fullmatch(request.repository):
        raise WorkbenchError(f"{request.repository!r} is no Hub id; give OWNER/NAME, such as me/sqlcoder-gguf")
    trusted_key(request.public_key, request.identity, request.issuer)  # before anything is fetched
    with quiet(listener):  # the client's own log quotes addresses, whose login may be a secret
        return _pull(request, listener)


def _pull(request: PullRequest, listener: Listener) -> Artifact:
    with _user_errors(request):
        listing = list_repository(request.repository, request.revision)
    package = _chosen(listing, request.recipe)
    final = request.to or package.folder
    _check_place(final)
    listener.step(f"Pull {package.title} at {listing.commit[:12]} to {final}")
    with locked(final, listener.note):
        if _is_there(package, final, request, listener):
            return open_artifact(final)
        _make(package, final, request, listener)
    artifact = open_artifact(final)
    listener.note(f"{final}: {size_text(folder_bytes(final))}, {artifact.name} of {artifact.manifest.model}")
    return artifact


def _chosen(listing: Listing, recipe: str | None) -> _Package:
    """The package that was asked for."""
    found = packages_in(listing.files)
    if not found:
        raise ArtifactError(f"{listing.name} holds no package (no {MANIFEST}); was it made by workbench push?")
    if WHOLE in found:
        return _Package(listing, recipe or "", "")
    if recipe is None and len(found) > 1:
        raise WorkbenchError(f"{listing.name} holds several packages; choose one with --recipe: {', '.join(found)}")
    chosen = recipe or next(iter(found))
    if chosen not in found:
        raise WorkbenchError(f"{listing.name} holds no package {chosen!r}; give --recipe one of: {', '.join(found)}")
    return _Package(listing, chosen, found[chosen])


def _check_place(final: Path) -> None:
    """See that nothing of somebody else lies at a place.

    Raises:
        WorkbenchError: a file, a link, or a folder that is no artifact of ours lies there.
    """
    if final.is_symlink():
        raise WorkbenchError(f"{final} is a link; choose another folder with --to")
    if not final.name:
        raise WorkbenchError(f"{final} is no name for a new folder; choose one with --to")
    check_ours(final, known_files)


def _is_there(package: _Package, final: Path, request: PullRequest, listener: Listener) -> bool:
    """Whether this very package lies at its place, whole."""
    files = package.listing.files
    for name in UNLISTED:
        remote = files.get(package.prefix + name)
        if (final / name).is_file() != (remote is not None) or (remote and not remote.is_same(final / name)):
            return False
    checks = _look(final, request, listener)
    if any(check.status == FAILED and check.name in _OF_BYTES for check in checks):
        listener.note(f"{final} was altered since it was fetched; fetching it again")
        return False
    require_passed(checks, package.title)
    listener.note(f"{final} is there already")
    return True


def _make(package: _Package, final: Path, request: PullRequest, listener: Listener) -> None:
    """Fill a folder beside the final one and let it take the name."""
    key = f"{package.listing.name}@{package.listing.commit}/{package.recipe}"
    with staged(final, key, kept=(DisconnectedError, PrerequisiteError)) as stage:
        if any(path.is_symlink() for path in (stage.folder, *stage.folder.rglob("*"))):
            raise WorkbenchError(f"{stage.folder} holds links, which no pull makes; remove it and run again")
        if not stage.journal.entries:
            stage.journal.add({"begun": package.listing.commit})  # from here on there is something to keep
        with _user_errors(request):
            _fetch_all(package, stage, listener)
        checks = _look(stage.folder, request, listener)
        require_passed(checks, package.title)
        _tell(checks, listener)


def _fetch_all(package: _Package, stage: Stage, listener: Listener) -> None:
    """Fetch the manifest, look at it, then fetch what it lists."""
    listing, first = package.listing, package.prefix + MANIFEST
    check_manifest_file(listing, first)
    own = PulledFile(first, MANIFEST, listing.files[first].size, listing.files[first].sha256)
    _fetch(own, package, stage)
    files = files_of(listing, package.recipe, package.prefix, stage.folder / MANIFEST)
    total = sum(file.size for file in files)
    check_space(stage.folder, total, folder_bytes(stage.folder))
    _note_others(package, {own.path, *(file.path for file in files)}, listener)
    finished = {entry.get("name") for entry in stage.journal.entries}
    done = 0
    for file in files:
        if file.name not in finished:
            _fetch(file, package, stage, _progress(listener, done, total))
            stage.journal.add({"name": file.name})
        done += file.size


def _progress(listener: Listener, before: int, total: int) -> Callable[[int], None]:
    return lambda position: listener.advance("bytes", before + position, total)


def _note_others(package: _Package, ours: set[str], listener: Listener) -> None:
    """Say how much of the repository is left where it is."""
    shared = bool(package.prefix)
    prefixes = tuple(packages_in(package.listing.files).values())
    others = [
        path
        for path in package.listing.files.keys() - ours
        if path not in HUBS_OWN
        and not (shared and (belongs_to_root(path) or path.startswith(prefixes) or path.endswith(".gguf")))
    ]
    if others:
        count = "1 file" if len(others) == 1 else f"{len(others)} files"
        listener.note(f"{count} of the repository that the manifest does not list: not fetched")


def _fetch(
    file: PulledFile, package: _Package, stage: Stage, heard: Callable[[int], None] = lambda position: None
) -> None:
    """Fetch one file into the stage.

    Raises:
        VerificationError: it is not what was promised.
    """
    from huggingface_hub import hf_hub_url

    place = stage.folder / file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(package.listing.name, file.path, revision=package.listing.commit)
    went_on = place.is_file()
    digest = fetch_exactly(url, place, file.size, heard)
    if went_on and file.sha256 not in (None, digest):  # what an earlier run left may be half-written
        place.unlink()
        digest = fetch_exactly(url, place, file.size, heard)
    if file.sha256 not in (None, digest):
        raise VerificationError(f"{file.path} of {package.title} is not what its manifest lists; do not use it")


def _look(folder: Path, request: PullRequest, listener: Listener) -> tuple[Check, ...]:
    """What ``workbench verify`` finds in a folder."""
    asked = VerifyRequest(str(folder), public_key=request.public_key, identity=request.identity, issuer=request.issuer)
    return verify_folder(folder, asked, listener, must_be_package=True)


def _tell(checks: Sequence[Check], listener: Listener) -> None:
    """Say what was checked, and what could not be."""
    listener.note(f"checked: {', '.join(check.name for check in checks if check.status == PASSED)}")
    for check in checks:
        if check.status == NOT_CHECKED:
            listener.note(f"{check.name} not checked: {check.detail}")


@contextmanager
def _user_errors(request: PullRequest) -> Iterator[None]:
    """The errors of the Hub's client as one sentence; their own text, which may quote addresses, is left out."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise PrerequisiteError("HF_HUB_OFFLINE is set; unset it to pull") from error
    except HfHubHTTPError as error:
        code = error.response.headers.get("x-error-code", "")
        raise _told(request, error.response.status_code, code) from error
    except HubError as error:
        raise DisconnectedError(
            f"there is no connection to the Hub, or it broke off while {request.repository} was fetched "
            f"({type(error).__name__}); run again, it goes on from there"
        ) from error


def _told(request: PullRequest, status: int, code: str) -> WorkbenchError:
    """What a refusal of the Hub means to the user."""
    name, login = request.repository, "log in with: hf auth login"
    by_code = {
        "GatedRepo": PrerequisiteError(f"{name} is gated; accept its terms on its page of the Hub, then {login}"),
        "RevisionNotFound": WorkbenchError(f"{name} has no such revision on the Hub; give --revision one that it has"),
        "EntryNotFound": TransferError(f"{name} lists a file that it does not have; tell its owner"),
    }
    if code in by_code:
        return by_code[code]
    if status in (401, 403, 404):
        return PrerequisiteError(
            f"the Hub does not show you {name} (HTTP {status}); check name and revision, and for a private one {login}"
        )
    if status == 429:
        return DisconnectedError(f"the Hub wants fewer questions (HTTP 429); pull {name} again in a while")
    if status >= 500:
        return DisconnectedError(
            f"the Hub is in trouble (HTTP {status}) while {name} is fetched; run again, it goes on from there"
        )
    return TransferError(f"the Hub refuses to hand out {name} (HTTP {status}); tell its owner")
