"""A local server that takes uploads as the Hub does: make a repository, say how each file is to come, take it, commit.

Large files come by Git LFS's basic transfer, small ones inside the commit; Xet's protocol is not spoken (the client is
told so by ``HF_HUB_DISABLE_XET``).
"""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class UploadHub(ThreadingHTTPServer):
    """Takes uploads to any repository.

    Attributes:
        token: what a request must bring.
        private: of each repository that was made.
        objects: contents by sha256, as LFS brought them.
        files: contents by path, as the last commit left them.
        messages: of the commits.
        broken: uploads of large files are answered with an error.
    """

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.broken = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: UploadHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(404, {})

    def do_PUT(self) -> None:
        data = self._body()
        if self.server.broken:
            return self._send(400, {"error": "storage is on strike"})
        assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
        self.server.objects[self.path.rpartition("/")[2]] = data
        self._send(200, {})

    def do_POST(self) -> None:
        body, path = self._body(), self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self._send(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/preupload/main"):
            self._send(200, {"files": [_mode(file) for file in json.loads(body)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            self._send(200, {"transfer": "basic", "objects": [self._lfs(one) for one in json.loads(body)["objects"]]})
        elif path.endswith("/commit/main"):
            self._commit(path, [json.loads(line) for line in body.splitlines()])
        else:
            self._send(404, {})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.server.private:
            return self._send(409, {"url": f"{self.server.address}/{name}"})
        self.server.private[name] = wanted.get("visibility") == "private" or wanted.get("private") is True
        self._send(200, {"url": f"{self.server.address}/{name}"})

    def _lfs(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.server.objects:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.server.address}/lfs/{wanted['oid']}"}}}

    def _commit(self, path: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.objects[value["oid"]]
        repository = path.removeprefix("/api/models/").removesuffix("/commit/main")
        url = f"{self.server.address}/{repository}/commit/{COMMIT}"
        self._send(200, {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    large = file["path"].endswith((".gguf", ".safetensors"))
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
