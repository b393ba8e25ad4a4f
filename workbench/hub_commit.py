"""One atomic commit to a repository of the Hub, or none: what was decided, on top of the commit it was decided by.

Large files travel first (Git LFS, or Xet where the Hub has it), each known by its sha256: what is there already is not
sent again, so an upload that broke off goes on with the file it broke off in. Then one request names everything that
changes, and the commit that it is to stand on (``parentCommit``): if somebody else committed meanwhile the Hub refuses
(412), the repository is read anew and the whole decided again. So a reader sees the package before or the package
after, never a mix (huggingface.co/docs/huggingface_hub/guides/upload). Afterwards the commit is read back and held
against what was to be sent.

    state = read(HfApi(), target, listener)
    written = write(HfApi(), target, state, plan_now, message, listener)
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.errors import WorkbenchError
from workbench.hub_errors import insisting, one_line
from workbench.hub_state import MAIN, RepositoryState, read_state
from workbench.progress import Listener
from workbench.push_checks import Content
from workbench.push_plan import PushPlan, is_there
from workbench.sizes import size_text

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi

IGNORED = ".gitignore"
Planner = Callable[[RepositoryState], PushPlan]


@dataclass(frozen=True)
class Target:
    """Where a push goes.

    Attributes:
        repository: ``owner/name``; made when it is not there.
        private: whether a repository that is made is only seen by those who may.
        revision: branch, made from ``main`` when it is not there; ``None`` is ``main``.
        create_pr: propose the commit as a pull request instead.
    """

    repository: str
    private: bool = True
    revision: str | None = None
    create_pr: bool = False


@dataclass(frozen=True)
class Written:
    """How a push ended.

    Attributes:
        repository: ``owner/name``.
        commit: hash of the commit that holds the package.
        url: address of the commit, or of the pull request.
        is_new: whether this push made it.
        is_proposed: whether it stands in a pull request.
    """

    repository: str
    commit: str
    url: str
    is_new: bool = True
    is_proposed: bool = False


@dataclass(frozen=True)
class Message:
    """Of a commit: one line, and what explains it."""

    title: str
    description: str


def read(api: HfApi, target: Target, listener: Listener) -> RepositoryState:
    """What the repository holds; a Hub that is busy is asked again, one that cannot be reached is not.

    Raises:
        OSError, huggingface_hub.errors.HTTPError: the client's.
    """
    return insisting(lambda: read_state(api, target.repository, target.revision), target.repository, listener, False)


def write(
    api: HfApi, target: Target, state: RepositoryState, plan: Planner, message: Message, listener: Listener
) -> Written:
    """Bring the repository to hold what is planned.

    Args:
        api: the Hub's client.
        target: where.
        state: what it holds now.
        plan: decides by a state what is to be written; called again for each new state.
        message: of the commit.
        listener: hears what is sent and why it waits.

    Raises:
        WorkbenchError: the Hub did not take what it was sent as it was sent.
        OSError, RuntimeError, ValueError, huggingface_hub.errors.HTTPError: the client's.
    """
    known: list[RepositoryState] = [state]

    def attempt() -> Written:
        found = known.pop() if known else read_state(api, target.repository, target.revision)
        planned = plan(found)
        if planned.is_done:
            return _there(api, found)
        ready = _made(api, target, found)
        proposal = _proposal(api, planned, target, message) if target.create_pr else None
        return proposal or _commit(api, target, ready, planned, message, listener)

    return insisting(attempt, target.repository, listener)


def _there(api: HfApi, state: RepositoryState) -> Written:
    assert state.commit is not None  # it holds files
    url = f"{api.endpoint}/{state.repository}/commit/{state.commit}"
    return Written(state.repository, state.commit, url, is_new=False)


def _made(api: HfApi, target: Target, state: RepositoryState) -> RepositoryState:
    """The repository and its branch, made where they are missing."""
    if state.commit is None:
        api.create_repo(target.repository, private=target.private, exist_ok=True)
        state = read_state(api, target.repository, target.revision)
    if state.branch_missing and target.revision:
        api.create_branch(target.repository, branch=target.revision, revision=state.commit, exist_ok=True)
        state = dataclasses.replace(state, branch_missing=False)
    if IGNORED in state.files:
        raise WorkbenchError(
            f"{target.repository} holds a {IGNORED}, by which the Hub would leave files of a package out; delete it "
            "there and run again"
        )
    return state


def _proposal(api: HfApi, planned: PushPlan, target: Target, message: Message) -> Written | None:
    """An open pull request that brings just this: of an earlier push, or of one whose answer was lost."""
    found = api.get_repo_discussions(target.repository, discussion_type="pull_request", discussion_status="open")
    for one in found:
        if one.title == message.title and one.git_reference:
            state = read_state(api, target.repository, one.git_reference)
            if state.commit and not state.branch_missing and not missing_from(state, planned):
                return Written(target.repository, state.commit, one.url, is_new=False, is_proposed=True)
    return None


def _commit(
    api: HfApi, target: Target, state: RepositoryState, planned: PushPlan, message: Message, listener: Listener
) -> Written:
    from huggingface_hub import CommitOperationDelete

    listener.note(f"{target.repository}: {summary(planned)}")
    additions = [_addition(path, planned.contents[path]) for path in planned.sent]
    where: dict[str, Any] = {"revision": target.revision, "create_pr": target.create_pr}
    with _xet_where_it_is(api, target), _told_warnings(listener):
        api.preupload_lfs_files(target.repository, additions, free_memory=False, **where)
        done = api.create_commit(
            target.repository,
            [*additions, *(CommitOperationDelete(path, is_folder=False) for path in planned.deleted)],
            commit_message=message.title,
            commit_description=message.description,
            parent_commit=state.commit,
            **where,
        )
    _check(api, target, planned, done)
    url = done.pr_url if target.create_pr and done.pr_url else done.commit_url
    return Written(target.repository, done.oid, url, is_proposed=target.create_pr)


@contextmanager
def _told_warnings(listener: Listener) -> Iterator[None]:
    """What the Hub warns of, such as metadata of a card that it does not know, told in one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        if issubclass(one.category, UserWarning):
            listener.note(f"the Hub warns: {one_line(str(one.message))}")


def _addition(path: str, content: Content) -> CommitOperationAdd:
    """One file for the client; its digest is known, so that it need not be read once more."""
    from huggingface_hub import CommitOperationAdd

    addition = CommitOperationAdd(path, content.source)
    addition.upload_info.sha256 = bytes.fromhex(content.sha256)
    return addition


@contextmanager
def _xet_where_it_is(api: HfApi, target: Target) -> Iterator[None]:
    """The client told to do without Xet where the Hub does not offer it: the client itself would not notice.

    A Hub with Xet answers the request for a token to write (huggingface.co/docs/xet/auth).
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session  # type: ignore[attr-defined]  # not declared so

    before = constants.HF_HUB_DISABLE_XET
    if not before:
        revision = quote(target.revision or MAIN, safe="")
        url = f"{api.endpoint}/api/models/{target.repository}/xet-write-token/{revision}"
        answer = get_session().get(
            url, headers=build_hf_headers(), params={"create_pr": 1} if target.create_pr else None
        )
        constants.HF_HUB_DISABLE_XET = answer.status_code != 200 or "x-xet-cas-url" not in answer.headers
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def _check(api: HfApi, target: Target, planned: PushPlan, done: CommitInfo) -> None:
    """Hold the commit against what was to be sent.

    Raises:
        WorkbenchError: it holds something else.
    """
    wrong = missing_from(read_state(api, target.repository, done.oid), planned)
    if wrong:
        raise WorkbenchError(
            f"commit {done.oid} of {target.repository} does not hold {wrong[0]} as it was sent; look at the "
            "repository's rules, and run again"
        )


def missing_from(state: RepositoryState, planned: PushPlan) -> list[str]:
    """Paths that are not in a repository as planned: not there, not the same bytes, or not taken away."""
    wrong = [path for path, content in planned.contents.items() if not is_there(content, state.files.get(path))]
    return sorted([*wrong, *(path for path in planned.deleted if path in state.files)])


def summary(planned: PushPlan) -> str:
    """What a plan sends, in a line."""
    there = len(planned.contents) - len(planned.sent)
    parts = [f"{len(planned.sent)} files to send, {size_text(planned.sent_bytes())}"]
    parts += [f"{there} there already"] if there else []
    parts += [f"{len(planned.deleted)} to delete"] if planned.deleted else []
    return ", ".join(parts)
