"""A stand-in for GitHub on this machine: it speaks the REST API's part about releases, as documented.

https://docs.github.com/rest/releases: a draft is not found by its tag and is there several times if it is made several
times; lists come in pages; an asset's name is cleaned of what GitHub does not allow; an upload needs its length; a name
that is there already is refused with 422; an upload that fails may leave an asset in the state ``starter``. What fails
is planted with ``faults``.
"""

import hashlib
import json
import re
import socket
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Fault:
    """What goes wrong with the next request of a kind.

    Attributes:
        method: of the request.
        where: part of its path.
        status: answered; 0 hangs up.
        message: of the answer.
        headers: of the answer.
        kept: what was asked is done all the same, though the answer is lost.
        starter: an asset is left half.
    """

    method: str
    where: str
    status: int
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    kept: bool = False
    starter: bool = False


class GitHubServer(ThreadingHTTPServer):
    """One repository with tags and releases.

    Attributes:
        token: what a request must bring.
        tags: of the repository.
        releases: records, by id.
        assets: records, by id, each with ``release`` and ``content``.
        faults: planted, used up one at a time.
        asked: method and path of every request.
        immutable: a release that is shown takes no more assets.
        digests: assets tell their sha256, as they have since 2025.
        uploads_elsewhere: the address that releases name for uploads, if not this server's.
    """

    daemon_threads = True

    def __init__(self, repository: str, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository, self.token = repository, token
        self.tags = {"v1.0.0"}
        self.releases: dict[int, dict[str, Any]] = {}
        self.assets: dict[int, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.immutable = False
        self.digests = True
        self.uploads_elsewhere = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def contents(self) -> dict[str, bytes]:
        """Whole assets by name."""
        return {one["name"]: one["content"] for one in self.assets.values() if one["state"] == "uploaded"}

    def count(self, method: str, where: str) -> int:
        """How often something was asked."""
        return sum(one.startswith(method) and where in one for one in self.asked)

    def handle_error(self, *_: Any) -> None:
        """A connection that is cut is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for the acknowledgement of its head
    server: GitHubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        hub = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub.asked.append(f"{method} {self.path}")
        fault = next((one for one in hub.faults if one.method == method and one.where in self.path), None)
        if fault:
            hub.faults.remove(fault)
            if fault.starter:
                self._asset(fault.where, self._query("name"), body[:7], "starter")
            if fault.kept:
                self._route(method, body)
            return self._fail(fault)
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._send(401, {"message": "Bad credentials"})
        status, value = self._route(method, body)
        self._send(status, value)

    def _fail(self, fault: Fault) -> None:
        if fault.status:
            return self._send(fault.status, {"message": fault.message}, fault.headers)
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _route(self, method: str, body: bytes) -> tuple[int, Any]:
        hub, path = self.server, urlsplit(self.path).path
        base = f"/repos/{hub.repository}"
        if not path.startswith(base):
            return 404, {"message": "Not Found"}
        rest = path.removeprefix(base)
        if method == "GET" and (tag := re.fullmatch(r"/git/ref/tags/(.+)", rest)):
            found = tag[1] in hub.tags
            return (200, {"ref": f"refs/tags/{tag[1]}"}) if found else (404, {"message": "Not Found"})
        if rest == "/releases":
            return (200, self._page(list(hub.releases.values()))) if method == "GET" else self._make(json.loads(body))
        if one := re.fullmatch(r"/releases/(\d+)", rest):
            hub.releases[int(one[1])].update(json.loads(body))
            return 200, hub.releases[int(one[1])]
        if one := re.fullmatch(r"/releases/assets/(\d+)", rest):
            return (204, None) if hub.assets.pop(int(one[1]), None) else (404, {"message": "Not Found"})
        if one := re.fullmatch(r"/releases/(\d+)/assets", rest):
            held = [_public(asset) for asset in hub.assets.values() if asset["release"] == int(one[1])]
            return (200, self._page(held)) if method == "GET" else self._upload(int(one[1]), body)
        return 404, {"message": "Not Found"}

    def _make(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        hub, number = self.server, len(self.server.releases) + 1
        taken = {one["tag_name"] for one in hub.releases.values() if not one["draft"]}
        if wanted["tag_name"] in taken:
            return 422, _fault("Release", "tag_name", "already_exists")
        uploads = hub.uploads_elsewhere or hub.address
        hub.releases[number] = {
            **wanted,
            "id": number,
            "html_url": f"{hub.address}/{hub.repository}/releases/tag/{wanted['tag_name']}",
            "upload_url": f"{uploads}/repos/{hub.repository}/releases/{number}/assets{{?name,label}}",
        }
        return 201, hub.releases[number]

    def _upload(self, number: int, body: bytes) -> tuple[int, Any]:
        name = re.sub(r"[^\w.-]", ".", self._query("name"), flags=re.ASCII)
        if not body:
            return 400, {"message": "Bad Content-Length: "}
        if any(one["name"] == name and one["release"] == number for one in self.server.assets.values()):
            return 422, _fault("ReleaseAsset", "name", "already_exists")
        if self.server.immutable and not self.server.releases[number]["draft"]:
            return 422, {"message": "Cannot upload assets to an immutable release."}
        return 201, _public(self._asset(str(number), name, body, "uploaded"))

    def _asset(self, release: str, name: str, content: bytes, state: str) -> dict[str, Any]:
        number = max(self.server.assets, default=0) + 1
        release = "".join(re.findall(r"releases/(\d+)", self.path)[:1]) or release
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.server.assets[number] = {
            "id": number, "name": name, "state": state, "size": len(content), "release": int(release),
            "digest": digest if self.server.digests and state == "uploaded" else None, "content": content,
        }  # fmt: skip
        return self.server.assets[number]

    def _query(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _page(self, everything: list[Any]) -> list[Any]:
        size, number = int(self._query("per_page") or 30), int(self._query("page") or 1)
        return everything[(number - 1) * size : number * size]

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _public(asset: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asset.items() if name not in ("content", "release")}


def _fault(resource: str, name: str, code: str) -> dict[str, Any]:
    return {"message": "Validation Failed", "errors": [{"resource": resource, "field": name, "code": code}]}
