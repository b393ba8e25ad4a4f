"""A local server that speaks as much of the Hub's protocol as reading a model needs, counts bytes, and fails.

``local_hub`` speaks nearly all of it; this one serves a folder as it lies on disk, which a test may change.
"""

import hashlib
import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)
WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Request:
    """What was asked: ``GET``, file name or API path, first byte of the range."""

    method: str
    name: str
    first: int | None


class Hub(ThreadingHTTPServer):
    """Serves one folder as model ``org/model``, branch ``main`` and tag ``v1``.

    Attributes:
        sent: bytes of weights sent.
        requests: all that was asked.
        token: what a request must bring, if anything.
        cuts: weights are cut off after so many bytes, one count per download.
        lost: after the cuts, weights are refused.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.sent = 0
        self.requests: list[Request] = []
        self.token: str | None = None
        self.cuts: list[int] = []
        self.lost = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self, method: str) -> set[str]:
        """Files asked for."""
        return {request.name for request in self.requests if request.method == method and "/" not in request.name}

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, prefix = unquote(self.path.split("?")[0]), "/org/model/resolve/"
        name = path.removeprefix(prefix).partition("/")[2] if path.startswith(prefix) else path
        first, last = self._range()
        self.server.requests.append(Request(self.command, name, first))
        if not path.startswith(("/org/model/", "/api/models/org/model")):
            return self._refuse(404, "RepoNotFound")
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self._refuse(401, "GatedRepo")
        if path.startswith("/api/"):
            revision = path.partition("/revision/")[2]
            return self._api(path) if revision in ("", *REVISIONS) else self._refuse(404, "RevisionNotFound")
        if path.removeprefix(prefix).partition("/")[0] not in REVISIONS:
            return self._refuse(404, "RevisionNotFound")
        file = self.server.folder / name
        return self._file(file, first, last) if file.is_file() else self._refuse(404, "EntryNotFound")

    def _range(self) -> tuple[int | None, int | None]:
        wanted = self.headers.get("Range")
        if not wanted:
            return None, None
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(first), int(last) if last else None

    def _api(self, path: str) -> None:
        folder = self.server.folder
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if "/tree/" in path:
            sizes = {name: (folder / name).stat().st_size for name in files}
            listing: Any = [{"type": "file", "path": name, "size": sizes[name], "oid": "0" * 40} for name in files]
        else:
            listing = {"id": "org/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        self._send(200, json.dumps(listing).encode(), {})

    def _file(self, file: Path, first: int | None, last: int | None) -> None:
        data = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        status = 200
        if first is not None:
            last = len(data) - 1 if last is None else min(last, len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        cut = None
        if self.command == "GET" and file.suffix in WEIGHTS:
            if self.server.lost and not self.server.cuts:
                return self._refuse(503, "")
            cut = self.server.cuts.pop(0) if self.server.cuts else None
            self.server.sent += len(data[:cut])
        self._send(status, data, headers, cut)

    def _refuse(self, status: int, reason: str) -> None:
        self._send(status, b"", {"X-Error-Code": reason})

    def _send(self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
