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
    from huggingface_hub import HfApi, RepoFile

MAIN = "main"
MOST_SMALL_FILE = 16 << 20  # bytes; a manifest has some kilobytes


@dataclass(frozen=True)
class RepositoryState:
    """A repository at one commit.

    Attributes:
        repository: ``owner/name``.
        commit: its hash; ``None`` where there is no such repository, or it could not be asked.
        files: by path.
        branch_missing: whether the wanted branch is to be made; then this is the state of ``main``.
    """

    repository: str
    commit: str | None = None
    files: dict[str, RepoFile] = field(default_factory=dict)
    branch_missing: bool = False

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
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    missing = False
    try:
        commit = api.model_info(repository, revision=revision or MAIN).sha
    except RevisionNotFoundError:
        commit, missing = api.model_info(repository).sha, True
    except RepositoryNotFoundError:
        return RepositoryState(repository)
    assert commit is not None
    tree = api.list_repo_tree(repository, recursive=True, revision=commit)
    return RepositoryState(repository, commit, {one.path: one for one in tree if isinstance(one, RepoFile)}, missing)
