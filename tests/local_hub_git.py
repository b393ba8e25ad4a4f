"""What a repository of the Hub is made of: Git's own objects, and the large files beside them.

A file's contents are a blob, a folder is a tree of names, a commit names a tree and its parents, and each is called by
the SHA-1 of ``<kind> <length>\\0<contents>`` (git-scm.com/book, "Git Internals: Git Objects"). A large file's blob is a
pointer of three lines that names the contents by their SHA-256 (github.com/git-lfs/git-lfs, docs/spec.md); the contents
lie elsewhere. So the ids that the local Hub hands out are those that ``git`` itself would compute.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

ATTRIBUTES = ".gitattributes"
LFS_RULE = "filter=lfs diff=lfs merge=lfs -text"
# A new repository of the Hub holds these rules from its first commit on.
LFS_SUFFIXES = (
    "7z", "arrow", "bin", "bz2", "ckpt", "ftz", "gguf", "gz", "h5", "joblib", "mlmodel", "model", "msgpack", "npy",
    "npz", "onnx", "ot", "parquet", "pb", "pickle", "pkl", "pt", "pth", "rar", "safetensors", "tar", "tflite", "tgz",
    "wasm", "xz", "zip", "zst",
)  # fmt: skip


def git_id(kind: str, data: bytes) -> str:
    """Git's name of an object."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What Git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its blob, its size and, of a large one, the digest of its contents."""

    blob: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    files: Mapping[str, Entry]
    parents: tuple[str, ...]
    title: str
    description: str
    author: str
    date: datetime
    tree: str
    folders: Mapping[str, str]  # tree ids by path


def tree_ids(files: Mapping[str, Entry]) -> dict[str, str]:
    """Ids of all folders by path; the root's is that of ``""``."""
    children: dict[str, dict[str, tuple[str, str]]] = {"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        while folder not in children:
            children[folder] = {}
            folder = folder.rpartition("/")[0]
        children[path.rpartition("/")[0]][name] = ("100644", entry.blob)
    ids: dict[str, str] = {}
    for folder in sorted(children, key=lambda one: (one == "", -one.count("/"), one)):  # the deepest first, root last
        held = children[folder]
        # Git sorts a folder as if its name ended in a slash.
        names = sorted(held, key=lambda name: f"{name}/".encode() if held[name][0] == "40000" else name.encode())
        data = b"".join(f"{held[name][0]} {name}\0".encode() + bytes.fromhex(held[name][1]) for name in names)
        ids[folder] = git_id("tree", data)
        if folder:
            parent, _, name = folder.rpartition("/")
            children[parent][name] = ("40000", ids[folder])
    return ids


@dataclass
class Repository:
    """A repository: objects, references, who may see it.

    Attributes:
        kind: ``models`` or ``datasets``.
        name: ``owner/name``.
        private: seen by its owners only.
        gated: ``""``, ``auto`` or ``manual``: its files are handed to those in ``readers``.
        readers: users who were let in.
        blobs: contents by Git id, large files as pointers.
        large: contents of large files by SHA-256.
        commits: all, by id.
        refs: ids of commits by full name, such as ``refs/heads/main``.
        discussions: discussions and pull requests, by number from 1 on.
    """

    kind: str
    name: str
    private: bool = False
    gated: str = ""
    readers: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    discussions: list[dict[str, object]] = field(default_factory=list)

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    def resolve(self, revision: str) -> Commit | None:
        """A branch, a tag, ``refs/...`` or a commit's full id."""
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        return self.commits.get(revision)

    def ref_of(self, revision: str) -> str:
        """The full name of a reference to be moved."""
        return revision if revision.startswith("refs/") else f"refs/heads/{revision}"

    def read(self, path: str, revision: str = "main") -> bytes:
        """A file's contents, for tests to look at."""
        commit = self.resolve(revision)
        assert commit is not None, f"no revision {revision}"
        entry = commit.files[path]
        return self.large[entry.sha256] if entry.sha256 else self.blobs[entry.blob]

    def names(self, revision: str = "main") -> set[str]:
        """Names of all files but the Hub's own ``.gitattributes``."""
        commit = self.resolve(revision)
        assert commit is not None, f"no revision {revision}"
        return set(commit.files) - {ATTRIBUTES}

    def history(self, revision: str = "main") -> list[Commit]:
        """Commits, the newest first."""
        commit, found = self.resolve(revision), []
        while commit is not None:
            found.append(commit)
            commit = self.commits[commit.parents[0]] if commit.parents else None
        return found

    def store(self, data: bytes, large: bool = False) -> Entry:
        """Keep contents."""
        sha256 = hashlib.sha256(data).hexdigest() if large else None
        if sha256:
            self.large[sha256] = data
            return self.point(sha256)
        blob = git_id("blob", data)
        self.blobs[blob] = data
        return Entry(blob, len(data))

    def point(self, sha256: str) -> Entry:
        """An entry for a large file that was uploaded."""
        size = len(self.large[sha256])
        text = pointer(sha256, size)
        blob = git_id("blob", text)
        self.blobs[blob] = text
        return Entry(blob, size, sha256)

    def put(self, changes: Mapping[str, bytes | None], title: str = "change", revision: str = "main") -> Commit:
        """Commit past the protocol and its checks, as tests need it; ``None`` deletes."""
        base = self.resolve(revision)
        files = dict(base.files) if base else {}
        for path, data in changes.items():
            if data is None:
                files.pop(path)
            else:
                files[path] = self.store(data, large=is_large(path, data[:512], len(data)))
        return self.add_commit(self.ref_of(revision), files, title)

    def add_commit(
        self, ref: str, files: Mapping[str, Entry], title: str, description: str = "", author: str = "tester"
    ) -> Commit:
        """Make a commit on top of a reference, which moves on to it."""
        parents = (self.refs[ref],) if ref in self.refs else ()
        date = datetime.now(UTC).replace(microsecond=0)
        folders = tree_ids(files)
        who = f"{author} <{author}@users.noreply.huggingface.co> {int(date.timestamp())} +0000"
        lines = [f"tree {folders['']}", *(f"parent {one}" for one in parents), f"author {who}", f"committer {who}"]
        message = f"{title}\n\n{description}" if description else title
        text = "\n".join(lines) + f"\n\n{message}\n"
        oid = git_id("commit", text.encode())
        commit = Commit(oid, dict(files), parents, title, description, author, date, folders[""], folders)
        self.commits[oid], self.refs[ref] = commit, oid
        return commit


def is_large(path: str, sample: bytes, size: int) -> bool:
    """Whether the Hub wants a file as a large one: by its ending, beyond 10 MB, or binary."""
    return size > 0 and (path.rpartition(".")[2].lower() in LFS_SUFFIXES or size > 10 * 10**6 or b"\0" in sample)


def first_attributes() -> bytes:
    """The file that a new repository begins with."""
    return "".join(f"*.{suffix} {LFS_RULE}\n" for suffix in LFS_SUFFIXES).encode()
