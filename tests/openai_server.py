"""A local server that speaks OpenAI's protocol as far as its client needs, remembers what was asked, and fails."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What was asked, in which order, and with how many others under way."""

    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    under_way: int


@dataclass
class Fault:
    """What a request gets instead of its answer.

    Attributes:
        status: of the reply.
        body: JSON value, or text as it is.
        headers: of the reply.
        cut: bytes after which the connection breaks; 0 sends nothing at all.
        sleep_s: wait first; then, with status 200, the answer comes after all.
    """

    status: int = 500
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    sleep_s: float = 0.0


def sql_of(prompt: str) -> str:
    """An answer that shows the question."""
    return f"SELECT '{prompt}'\n"


@contextmanager
def serving(answer: Callable[[str], str] = sql_of) -> Iterator["OpenAIServer"]:
    """A server that runs as long as the block lasts."""
    with OpenAIServer(answer) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


class OpenAIServer(ThreadingHTTPServer):
    """Answers ``/v1/models``, ``/v1/completions`` and ``/v1/chat/completions`` on the loopback address.

    Attributes:
        requests: all that was asked.
        models: names with their owners.
        key: what a request must bring, if anything.
        faults: each is the fate of one question, in the order they come; then all goes well.
        answer: of a prompt.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.models = {"sqlcoder-nano": "me"}
        self.key: str | None = None
        self.faults: list[Fault] = []
        self.answer = answer
        self.under_way = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def prompts(self) -> list[str]:
        """What was asked, in order."""
        return [prompt_of(request.body) for request in self.requests if request.method == "POST"]

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


def prompt_of(body: dict[str, Any]) -> str:
    return body["prompt"] if "prompt" in body else body["messages"][0]["content"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._note({})
        if self.path != "/v1/models":
            return self._send(404, {"error": {"message": "File Not Found", "code": 404}})
        if self._locked():
            return self._send(401, {"error": {"message": f"no such key: {self.headers.get('Authorization')}"}})
        self._send(200, {"object": "list", "data": [{"id": k, "owned_by": v} for k, v in self.server.models.items()]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.under_way += 1
            self._note(body)
            fault = self.server.faults.pop(0) if self.server.faults else None
        try:
            self._answer(body, fault)
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def _answer(self, body: dict[str, Any], fault: Fault | None) -> None:
        if fault:
            time.sleep(fault.sleep_s)
            if not (fault.status == 200 and fault.body is None and fault.cut is None):
                return self._send(fault.status, fault.body, fault.headers, fault.cut)
        if self._locked():
            return self._send(401, {"error": {"message": f"no such key: {self.headers.get('Authorization')}"}})
        if self.path not in ("/v1/completions", "/v1/chat/completions"):
            return self._send(404, {"detail": "Not Found"})
        if body["model"] not in self.server.models:
            return self._send(404, {"object": "error", "message": f"The model `{body['model']}` does not exist."})
        text = self.server.answer(prompt_of(body))
        chat = "messages" in body
        told = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        tokens = {"token_ids": [7, 8]} if body.get("return_token_ids") else {}
        choices = [{"index": n, **told, "finish_reason": "stop", **tokens} for n in range(body.get("n", 1))]
        self._send(200, {"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 2}})

    def _locked(self) -> bool:
        return bool(self.server.key) and self.headers.get("Authorization") != f"Bearer {self.server.key}"

    def _note(self, body: dict[str, Any]) -> None:
        request = Request(self.command, self.path, body, dict(self.headers), self.server.under_way)
        self.server.requests.append(request)

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if cut == 0:
            self.close_connection = True
            return self.connection.close()
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
