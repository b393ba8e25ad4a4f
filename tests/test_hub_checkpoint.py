"""Planning from the Hub: the real client against a local server that speaks the Hub's protocol and counts bytes."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one folder as ``org/model``; ``sent`` counts the bytes of weights that were asked for."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.sent = folder, 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        if self.path.startswith("/api/models/org/model/tree/"):
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}
                for path in self.server.folder.iterdir()
            ]
            return self._send(200, json.dumps(files).encode(), body)
        if self.path.startswith("/api/models/org/model"):
            files = [{"rfilename": path.name} for path in self.server.folder.iterdir()]
            return self._send(200, json.dumps({"id": "org/model", "sha": COMMIT, "siblings": files}).encode(), body)
        file = self.server.folder / self.path.split("?")[0].rsplit("/", 1)[-1]
        if not self.path.startswith("/org/model/resolve/") or not file.is_file():
            missing = "EntryNotFound" if self.path.startswith("/org/model/") else "RepoNotFound"
            return self._send(404, b"", body, {"X-Error-Code": missing})
        data, status, headers = file.read_bytes(), 200, {}
        wanted = self.headers.get("Range")
        if wanted:
            first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
            headers["Content-Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
            data, status = data[first : last + 1], 206
        if body and file.suffix == ".safetensors":
            self.server.sent += len(data)
        return self._send(status, data, body, headers)

    def _send(self, status, data, body, headers=None):
        self.send_response(status)
        identity = {"Content-Length": str(len(data)), "X-Repo-Commit": COMMIT, "ETag": f'"{len(data)}"'}
        for name, value in {**identity, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(tiny_checkpoint):
    server = Hub(tiny_checkpoint("gpt_bigcode"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def workbench(hub, tmp_path, *arguments):
    address = f"http://127.0.0.1:{hub.server_address[1]}"
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_TOKEN": "hf_planted_secret", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "workbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_a_plan_fetches_headers_only(hub, tmp_path):
    done = workbench(
        hub, tmp_path, "plan", "--profile", "rtx4090", "--model", "org/model", "--recipe", "fp16", "--json"
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)["recipes"][0]
    weights = hub.folder / "model.safetensors"
    assert row["predicted"]["weight_bytes"] == pytest.approx(weights.stat().st_size, rel=0.01)
    assert hub.sent < weights.stat().st_size / 2


def test_a_build_fetches_the_weights(hub, tmp_path):
    code = (
        "from workbench.checkpoint import open_checkpoint\n"
        "found = open_checkpoint('org/model')\n"
        "print(found.revision, found.parameters, found.digest)"
    )
    environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(COMMIT)


def test_an_unknown_repository_is_one_sentence_without_the_token(hub, tmp_path):
    done = workbench(hub, tmp_path, "plan", "--profile", "cpu", "--model", "org/other")
    assert done.returncode == 2
    assert "org/other cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hf_planted_secret" not in done.stderr + done.stdout
