"""Upload packages to the Hugging Face Hub: one atomic commit for each repository, and none where it is there already.

An artifact that does not compute what its source computes, or that its accuracy gate refuted, does harm under a model's
name: it is refused, and ``--force`` is there for those who publish it as what it is. Everything is looked at before
anything is sent (``push_checks``), decided by one commit of the repository (``push_plan``), and written on top of just
that commit (``hub_commit``). GGUF packages share a repository, as their users expect; packages of other formats have
repositories of their own, which a collection holds together.

    python -m workbench push artifacts/sqlcoder-nano/gguf-q4_k_m artifacts/sqlcoder-nano/gguf-q8_0 me/sqlcoder-nano-gguf
    python -m workbench push artifacts/sqlcoder-nano/{int8,gguf-q8_0} me/sqlcoder-nano --collection "SQLCoder nano"

The commit names the MLflow run that made the artifact, and the run is told of the commit. The token is the Hub client's
own (``hf auth login``, or ``HF_TOKEN``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.artifact import Manifest
from workbench.errors import WorkbenchError
from workbench.hub_commit import Message, Target, Written, read, summary, write
from workbench.hub_errors import insisting, is_broken_connection, quiet, user_errors
from workbench.hub_layout import HUB_ID, is_shared
from workbench.hub_state import RepositoryState
from workbench.progress import SILENT, Listener
from workbench.push_checks import CheckedPackage, check
from workbench.push_collection import collect
from workbench.push_link import link, origins
from workbench.push_plan import PushPlan, plan_push
from workbench.sizes import size_text
from workbench.tables import DASH, Table

if TYPE_CHECKING:
    from huggingface_hub import HfApi

STORE = Path("artifacts")


@dataclass(frozen=True)
class PushRequest:
    """What the user asked to be uploaded.

    Attributes:
        artifact: folders of one or several.
        repository: ``OWNER/NAME``; made when it is not there. With a collection, what the names begin with.
        private: whether a new repository is only seen by those who may.
        revision: branch, made when it is not there; ``None`` is ``main``.
        create_pr: propose the commit as a pull request.
        collection: title of a collection that holds them; each format then has a repository of its own.
        force: upload what is refused otherwise.
        out: folder of the local MLflow store.
        tracking_uri: of another one.
        dry_run: only tell what would be sent.
    """

    artifact: tuple[Path, ...]
    repository: str
    private: bool = True
    revision: str | None = None
    create_pr: bool = False
    collection: str | None = None
    force: bool = False
    out: Path = STORE
    tracking_uri: str | None = None
    dry_run: bool = False


def push(request: PushRequest, listener: Listener = SILENT) -> list[Written]:
    """Upload packages.

    Returns:
        How it ended for each repository; empty for a dry run.

    Raises:
        ArtifactError: one is not whole, altered, refuted, or holds secrets; nothing was sent.
        PrerequisiteError: no token, or one that may not write there.
        WorkbenchError: the names do not fit together, or the Hub refuses; what was sent is not sent again.
    """
    from huggingface_hub import HfApi

    _check_request(request)
    api = HfApi(library_name="sqlcoder-workbench", library_version=__version__)
    home = partial(home_of, request.repository, request.collection)
    packages = [check(folder, home, request.force, request.dry_run, listener) for folder in request.artifact]
    groups = grouped(packages, request.repository, request.collection)
    with quiet(listener):
        if request.dry_run:
            for repository, members in groups.items():
                _show(api, _target(request, repository), members, listener)
            if request.collection:
                listener.note(f"the collection {request.collection!r} would hold: {', '.join(groups)}")
            return []
        done = [_push(api, request, repository, members, listener) for repository, members in groups.items()]
        if request.collection:
            _collect(api, request, request.collection, list(groups), listener)
    return done


def _check_request(request: PushRequest) -> None:
    if not HUB_ID.fullmatch(request.repository):
        raise WorkbenchError(f"{request.repository!r} is no Hub id; give OWNER/NAME, such as me/sqlcoder-gguf")
    if not request.artifact:
        raise WorkbenchError("there is nothing to push; give an artifact's folder, then OWNER/NAME")


def grouped(
    packages: Sequence[CheckedPackage], repository: str, collection: str | None
) -> Mapping[str, list[CheckedPackage]]:
    """Which packages go to which repository.

    Raises:
        WorkbenchError: they cannot be told apart there.
    """
    names = [one.manifest.name for one in packages]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise WorkbenchError(f"{twice} was given twice; push artifacts of one model, each recipe once")
    models = sorted({one.manifest.model for one in packages})
    if len(models) > 1:
        raise WorkbenchError(f"{models[0]} and {models[1]} are different models; push each by itself")
    if not collection:
        if len(packages) > 1 and not all(is_shared(one.manifest.format) for one in packages):
            raise WorkbenchError(
                "only GGUF packages can lie side by side in a repository; push the others one by one, or give "
                "--collection TITLE to push each to a repository of its own"
            )
        return {repository: list(packages)}
    groups: dict[str, list[CheckedPackage]] = {}
    for one in packages:
        groups.setdefault(home_of(repository, collection, one.manifest), []).append(one)
    return groups


def home_of(repository: str, collection: str | None, manifest: Manifest) -> str:
    """The repository of a package: the one that was named, or with a collection one of its own below that name."""
    if not collection:
        return repository
    return f"{repository}-{manifest.format if is_shared(manifest.format) else manifest.name}"


def _target(request: PushRequest, repository: str) -> Target:
    return Target(repository, request.private, request.revision, request.create_pr)


def _push(
    api: HfApi, request: PushRequest, repository: str, packages: list[CheckedPackage], listener: Listener
) -> Written:
    """One repository: its commit, and the tracker told of it."""
    target = _target(request, repository)
    names = ", ".join(one.manifest.name for one in packages)
    listener.step(f"Upload {names} of {packages[0].manifest.model} to {repository}")
    manifests = [one.manifest for one in packages]
    runs = origins(manifests, request.tracking_uri, request.out, listener)
    plan = partial(_plan, packages, listener)
    with user_errors(repository):
        state = read(api, target, listener)
        if state.is_public and request.private:
            listener.note(f"{repository} is there already, and is public: everybody can read what is sent there")
        done = write(api, target, state, plan, _message(packages, runs), listener)
    listener.note(_ending(done))
    link(manifests, done, request.tracking_uri, request.out, listener)
    return done


def _plan(packages: Sequence[CheckedPackage], listener: Listener, state: RepositoryState) -> PushPlan:
    return plan_push(packages, state, listener)


def _ending(done: Written) -> str:
    if not done.is_new:
        return f"already {'proposed' if done.is_proposed else 'there'} at commit {done.commit}: {done.url}"
    return f"{'proposed' if done.is_proposed else 'written'} by commit {done.commit}: {done.url}"


def _message(packages: Sequence[CheckedPackage], runs: Mapping[str, str]) -> Message:
    """What the commit says: which packages, their identity, the runs they came out of."""
    names = ", ".join(one.manifest.name for one in packages)
    lines = []
    for one in packages:
        manifest, verdict = one.manifest, one.manifest.acceptance.get("verdict")
        parts = [f"{manifest.name}: build {manifest.build_key}"]
        parts += [f"{manifest.bits_per_weight:.3g} bits a weight, {size_text(manifest.weight_bytes)}"]
        parts += [f"accuracy gate: {verdict}"] if verdict else []
        parts += [f"uploaded although it {one.objection}"] if one.objection else []
        parts += [runs[manifest.name]] if manifest.name in runs else []
        lines.append("- " + "; ".join(parts))
    return Message(f"{names} of {packages[0].manifest.model}, made by sqlcoder-workbench", "\n".join(lines))


def _collect(api: HfApi, request: PushRequest, title: str, repositories: list[str], listener: Listener) -> None:
    with user_errors(f"the collection {title!r}"):
        work = partial(collect, api, title, repositories, request.private)
        address, added = insisting(work, f"the collection {title!r}", listener)
    listener.note(f"collection {title!r}: {len(added)} of {len(repositories)} repositories added: {address}")


def _show(api: HfApi, target: Target, packages: list[CheckedPackage], listener: Listener) -> None:
    """What a push would write, without writing."""
    names = ", ".join(one.manifest.name for one in packages)
    listener.step(f"What would be uploaded of {names} to {target.repository}")
    with user_errors(target.repository):
        state = _state_if_reachable(api, target, listener)
        planned = plan_push(packages, state, listener)
    rows = [
        (path, size_text(content.bytes), "send" if path in planned.sent else "there already")
        for path, content in sorted(planned.contents.items())
    ]
    rows += [(path, DASH, "delete") for path in planned.deleted]
    listener.table(Table(("file", "size", "what"), tuple(rows)))
    listener.note(f"{target.repository}: {summary(planned)}; nothing was sent (--dry-run)")


def _state_if_reachable(api: HfApi, target: Target, listener: Listener) -> RepositoryState:
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return read(api, target, listener)
    except (HubError, OSError) as error:
        if not isinstance(error, OfflineModeIsEnabled) and not is_broken_connection(error):
            raise
        listener.note(f"the Hub cannot be reached: what {target.repository} holds already is not known")
        return RepositoryState(target.repository)
