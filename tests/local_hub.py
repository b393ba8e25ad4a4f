"""A local stand-in for the Hugging Face Hub that speaks its HTTP protocol to the real client (huggingface_hub 2.4).

It keeps repositories with real history in memory: commits with parents, trees and blobs under the ids that Git gives
them, large files under their SHA-256 with pointers in Git, branches, tags and pull requests (``refs/pr/N``), who may
see and who may write. Large files are served and taken by a second host ("cdn", another port and so another origin),
by addresses that are signed and need no token, as the Hub's storage does it.

A test, in this process or with a child process::

    with LocalHub() as hub:
        hub.add_token("hf_secret", "me")                        # may write below me/
        hub.use(monkeypatch, tmp_path, "hf_secret")             # the client in this process talks to it, or
        subprocess.run([...], env=hub.environment(tmp_path, "hf_secret"))
        hub.fail("PUT", "/lfs/", "cut", after_bytes=1000)       # the next upload of a large file breaks there
        hub.repository("me/model").read("config.json")          # what a commit left, of any revision
        hub.asked("PUT", "/lfs/")                               # requests, with headers, bodies and how they ended

What fails, and how often (``fail``): a status such as 401, 403, 404, 409, 412, 429, 500, 503; ``"cut"``, the
connection breaks after so many bytes of an upload's or download's body; ``"lost"``, the request is carried out, but the
answer never arrives. ``plant`` answers with any status, headers and bytes, without end if need be: a hostile server.

What it speaks:

- ``whoami-v2``; tokens that read, write, or are fine-grained with rights for some repositories only
- ``repos/create`` (409 where there is one), ``repos/delete``, ``settings``, ``auth-check``
- ``{models|datasets}/{id}[/revision/{revision}]``, ``tree`` (recursive, in pages with a Link header, expand),
  ``paths-info``, ``commits``, ``refs``, ``branch``, ``tag``
- ``preupload``, ``{id}.git/info/lfs/objects/batch`` (basic and multipart), signed PUT, completion, verify
- ``commit`` (header, file, lfsFile, deletedFile, deletedFolder; 412 where ``parentCommit`` has moved on; ``create_pr``)
- ``validate-yaml`` and the same look at README.md in a commit
- ``discussions``: list, open, read, change status, merge
- ``collections``: create, read, list, add an item (409 where it is in), update, delete
- ``resolve`` with HEAD, Range, ETag, ``X-Repo-Commit``, ``X-Linked-Size``, ``X-Linked-ETag``, the redirect of large
  files to the other host, compressed text, gated and private repositories, ``X-Error-Code``

What it does not: Xet (``environment`` and ``use`` tell the client to do without), Git over HTTP and LFS downloads by
``git``, Spaces, likes, search, rate limits unless planted, malware scans. Statuses and messages are the Hub's as far as
its client's sources and documentation tell them; the Hub itself was not asked.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import local_hub_api
import local_hub_files
import local_hub_social  # noqa: F401  # registers its routes
from local_hub_access import Token
from local_hub_git import Repository
from local_hub_http import Fault, Handler, Request

__all__ = ["LocalHub", "Repository", "Request", "Token"]


class LocalHub:
    """See above.

    Attributes:
        requests: all that was asked, in order, of both hosts.
        repositories: by kind and name, such as ``("models", "me/model")``; ``repository`` finds one.
        tokens: who may do what, by token.
        collections: by slug.
        page_size: entries of a listing's page; the Hub's are 1000.
        part_bytes: large files beyond this come in parts of this size; ``None``: never.
        compress: whether text is sent compressed to who takes that, as the Hub does.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tokens: dict[str, Token] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.page_size = 1000
        self.part_bytes: int | None = None
        self.compress = True
        self.signing_key = secrets.token_bytes(16)
        self.parts: dict[tuple[str, int], bytes] = {}
        self._servers = {origin: _Server(self, origin) for origin in ("hub", "cdn")}

    def __enter__(self) -> "LocalHub":
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    @property
    def address(self) -> str:
        """For ``HF_ENDPOINT``."""
        return self._servers["hub"].address

    @property
    def cdn_address(self) -> str:
        """The other host's."""
        return self._servers["cdn"].address

    def add_token(
        self,
        token: str,
        user: str,
        role: str = "write",
        orgs: Iterable[str] = (),
        rights: Mapping[str, str] | None = None,
    ) -> None:
        """Let a token in.

        Args:
            token: as it travels.
            user: whose it is.
            role: ``write``, ``read``, or ``fineGrained``: then ``rights`` say what it may.
            orgs: organizations that the user may write to.
            rights: of a fine-grained token, ``read`` or ``write`` by repository or namespace.
        """
        self.tokens[token] = Token(token, user, role, tuple(orgs), dict(rights or {}))

    def repository(self, name: str, kind: str = "models") -> Repository:
        """A repository that is there; ``KeyError`` where it is not."""
        return self.repositories[kind, name]

    def add_repository(
        self, name: str, files: Mapping[str, bytes] | Path | None = None, kind: str = "models", **fields: Any
    ) -> Repository:
        """Make a repository past the protocol.

        Args:
            name: ``owner/name``.
            files: contents by name, or a folder to take them from; one commit after the Hub's own first.
            kind: ``models`` or ``datasets``.
            fields: of ``Repository``, such as ``private=True``.
        """
        repository = local_hub_api.new_repository(self, kind, name, **fields)
        if isinstance(files, Path):
            found = sorted(file for file in files.rglob("*") if file.is_file())
            files = {file.relative_to(files).as_posix(): file.read_bytes() for file in found}
        if files:
            repository.put(files, "Upload folder")
        return repository

    def fail(
        self,
        method: str,
        pattern: str,
        status: int | str,
        *,
        after_bytes: int = 0,
        times: int | None = 1,
        skip: int = 0,
        retry_after: int | None = None,
    ) -> None:
        """Plant trouble.

        Args:
            method: ``GET``, ``PUT`` ...; ``*`` for all.
            pattern: regular expression, searched in a request's unquoted path.
            status: of the answer; ``"cut"``: the connection breaks in the middle; ``"lost"``: it breaks after the
                request was carried out.
            after_bytes: how much of an upload's or a download's body goes through before a cut.
            times: how many requests it strikes; ``None``: all.
            skip: how many pass before.
            retry_after: seconds, sent as ``Retry-After``.
        """
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = b'{"error": "planted"}'
        with self.lock:
            self.faults.append(Fault(method, pattern, status, after_bytes, times, skip, headers, body))

    def plant(
        self,
        method: str,
        pattern: str,
        body: bytes | Callable[[], Iterable[bytes]] = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer certain requests as a hostile server might.

        Args:
            method: as ``fail``.
            pattern: as ``fail``.
            body: bytes; or a function that yields pieces, sent without a length until the client hangs up.
            status: of the answer.
            headers: of the answer; a false ``Content-Length`` is sent as given.
            times: how many requests; ``None``: all.
        """
        with self.lock:
            self.faults.append(Fault(method, pattern, status, 0, times, 0, dict(headers or {}), body))

    def heal(self) -> None:
        """Forget all planted trouble."""
        with self.lock:
            self.faults.clear()

    def struck(self, request: Request) -> Fault | None:
        """The fault that strikes a request, if one does."""
        return next((one for one in self.faults if one.strikes(request.method, request.path)), None)

    def asked(self, method: str = "", pattern: str = "", origin: str = "") -> list[Request]:
        """Requests so far, by method, part of the path and host; empty means any."""
        return [
            one
            for one in self.requests
            if method in ("", one.method) and pattern in one.path and origin in ("", one.origin)
        ]

    def environment(self, home: Path, token: str = "") -> dict[str, str]:
        """The environment of a child process whose Hub client talks to this one and keeps everything below ``home``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        ours = {"HF_ENDPOINT": self.address, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}
        ours |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"}
        return kept | ours | ({"HF_TOKEN": token} if token else {})

    def use(self, monkeypatch: Any, home: Path, token: str = "") -> None:
        """Let the client in this process talk to this Hub, until the test ends."""
        from huggingface_hub import constants

        values = {"ENDPOINT": self.address, "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}
        values |= {"HUGGINGFACE_CO_URL_TEMPLATE": self.address + "/{repo_id}/resolve/{revision}/{filename}"}
        values |= {"HF_HUB_CACHE": str(home / "hf" / "hub"), "HF_TOKEN_PATH": str(home / "hf" / "token")}
        values |= {"HF_STORED_TOKENS_PATH": str(home / "hf" / "stored"), "HF_HUB_DISABLE_TELEMETRY": True}
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        for name, value in self.environment(home, token).items():
            monkeypatch.setenv(name, value)
        if not token:
            monkeypatch.delenv("HF_TOKEN", raising=False)

    def cdn_url(self, path: str) -> str:
        """A signed address of the other host."""
        return local_hub_files.signed(self, self.cdn_address, path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: LocalHub, origin: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub, self.origin = hub, origin

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; a fault of this stand-in is."""
        import sys
        import traceback

        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()
