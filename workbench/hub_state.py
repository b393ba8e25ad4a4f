"""What a repository of the Hub holds at one commit, and files of it, read within bounds.

Everything that is decided about a push is decided by one commit of the repository, whose hash the new commit then names
as its parent: so what was decided still holds when it is written, or the Hub says that it does not. A file is known
there without fetching it: large ones by their sha256 (Git LFS), small ones by the name that Git gives their bytes
(sha1 over ``blob <size>\\0`` and the bytes; git-scm.com/book/en/v2/Git-Internals-Git-Objects).

    state = read_state(HfApi(), "me/nano", "main")
    state.commit, sorted(state.files)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.hub_files import open_remote

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo, RepoFile

MAIN = "main"
NOT_FOUND = 404
MOST_SMALL_FILE = 16 << 20  # bytes; a manifest has some kilobytes


@dataclass(frozen=True)
class RepositoryState:
    """A repository at one commit.

    Attributes:
        repository: ``owner/name``.
        commit: its hash; ``None`` where there is no such repository, it has none, or it could not be asked.
        files: by path.
        branch_missing: whether the wanted branch is to be made; then this is the state of ``main``.
        is_public: whether everybody can read it.
    """

    repository: str
    commit: str | None = None
    files: dict[str, RepoFile] = field(default_factory=dict)
    branch_missing: bool = False
    is_public: bool = False

    def read(self, path: str) -> bytes:
        """A small file of this commit.

        Raises:
            WorkbenchError: it is too large for what it should be.
            OSError, huggingface_hub.errors.HTTPError: the Hub refuses.
        """
        assert self.commit is not None  # it lists the file
        with open_remote(self.repository, path, self.commit) as stream:
            data = stream.read(MOST_SMALL_FILE + 1)
        if len(data) > MOST_SMALL_FILE:
            raise WorkbenchError(f"{path} of {self.repository} is larger than such a file can be; look at it there")
        return data


def read_state(api: HfApi, repository: str, revision: str | None) -> RepositoryState:
    """Read what is there.

    Args:
        api: the Hub's client.
        repository: ``owner/name``.
        revision: branch or pull request (``refs/pr/1``); ``None`` is ``main``.

    Raises:
        OSError, huggingface_hub.errors.HTTPError: the Hub cannot be asked.
    """
    found, missing = _info(api, repository, revision or MAIN), False
    if found is None:
        found, missing = _info(api, repository, None), revision not in (None, MAIN)
    if found is None or found.sha is None:  # no such repository, or one without a commit
        return RepositoryState(repository)
    return RepositoryState(repository, found.sha, _files(api, repository, found.sha), missing, found.private is False)


def _info(api: HfApi, repository: str, revision: str | None) -> ModelInfo | None:
    """What the Hub says of a repository; ``None`` where there is none of this name, or not this revision.

    Other Hubs leave out the header by which the client tells one from the other; the status is the same.
    """
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        return api.model_info(repository, revision=revision)
    except RepositoryNotFoundError:
        return None
    except HfHubHTTPError as error:
        if error.response.status_code != NOT_FOUND:
            raise
        return None


def _files(api: HfApi, repository: str, commit: str) -> dict[str, RepoFile]:
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import EntryNotFoundError

    try:
        tree = list(api.list_repo_tree(repository, recursive=True, revision=commit))
    except EntryNotFoundError:  # an empty tree, to some Hubs
        return {}
    return {one.path: one for one in tree if isinstance(one, RepoFile)}
