"""The local Hub's HTTP: one request becomes a ``Call``, a function found by its path makes an ``Answer`` of it.

Here too is what a network does to a request: planted errors, answers that are lost, connections that break in the
middle of a file. Everything asked is noted down with its headers before it is answered.
"""

import json
import re
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from local_hub import LocalHub

LARGEST_KEPT_BODY = 1 << 20
PIECE = 64 << 10


@dataclass
class Request:
    """What was asked, and how it ended.

    Attributes:
        method: ``GET`` and so on.
        origin: ``hub``, or ``cdn`` for the other host, which serves and takes large files.
        path: without the query, unquoted.
        raw_path: the same as it came.
        query: behind the question mark, as it came.
        headers: by name in small letters.
        body: what came with it, unless it was larger than 1 MiB.
        body_bytes: how much came with it.
        status: of the answer; ``None`` where the connection was cut.
    """

    method: str
    origin: str
    path: str
    raw_path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""
    body_bytes: int = 0
    status: int | None = None

    @property
    def token(self) -> str | None:
        """The token it brought."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind == "Bearer" else None


@dataclass
class Fault:
    """Trouble planted for the requests that fit; see ``LocalHub.fail`` and ``LocalHub.plant``."""

    method: str
    pattern: str
    status: int | str
    after_bytes: int = 0
    times: int | None = 1
    skip: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Iterable[bytes]] = b""

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of those; counts."""
        if self.method not in ("*", method) or not re.search(self.pattern, path) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Refusal(Exception):
    """An error as the Hub says it: a status, a code for machines, a message for people."""

    def __init__(self, status: int, message: str, code: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.more = status, message, code, more


@dataclass
class Answer:
    """What is sent back; ``body`` may be any JSON value."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        """The body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Call:
    """A request to be answered: what was asked, the parts of its path, the Hub."""

    hub: "LocalHub"
    request: Request
    parts: dict[str, str]
    raw: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(self.request.query, keep_blank_values=True).items()}

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.raw)
        except ValueError as error:
            raise Refusal(400, f"the body is no JSON: {error}") from error


Route = tuple[str, re.Pattern[str], Callable[[Call], Answer]]
ROUTES: list[Route] = []


def route(method: str, pattern: str) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Let a function answer requests; ``{name}`` is one part of a path, ``{name:path}`` the rest of it."""
    found = pattern.replace("{id}", r"(?P<id>[\w.-]+/[\w.-]+?)").replace("{kind}", "(?P<kind>models|datasets)")
    found = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", found)
    found = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", found)

    def register(function: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        ROUTES.append((method, re.compile(found), function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 for both hosts."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True  # else every small answer waits 40 ms for the client's acknowledgement

    def log_message(self, *_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    @property
    def hub(self) -> "LocalHub":
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def _handle(self) -> None:
        split = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        origin = self.server.origin  # type: ignore[attr-defined]
        request = Request(self.command, origin, unquote(split.path), split.path, split.query, headers)
        with self.hub.lock:
            self.hub.requests.append(request)
            fault = self.hub.struck(request)
        if fault and fault.status == "cut" and self.command in ("PUT", "POST"):
            return self._cut(self._body(limit=fault.after_bytes))
        body = self._body()
        request.body, request.body_bytes = (body if len(body) <= LARGEST_KEPT_BODY else b""), len(body)
        if fault and isinstance(fault.status, int):
            return self._send(request, Answer(fault.status, fault.body, fault.headers))
        answer = self._answer(request, body)
        if fault and fault.status == "lost":
            return self._cut(b"")
        self._send(request, answer, fault.after_bytes if fault else None)

    def _answer(self, request: Request, body: bytes) -> Answer:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            for wanted, pattern, function in ROUTES:
                if wanted == f"{request.origin} {method}" and (match := pattern.fullmatch(request.raw_path)):
                    parts = {name: unquote(part) for name, part in match.groupdict().items()}
                    with self.hub.lock:
                        return function(Call(self.hub, request, parts, body))
            raise Refusal(404, "Sorry, we can't find the page you are looking for.")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message.replace("\n", " ")}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            return Answer(refusal.status, {"error": refusal.message, **refusal.more}, headers)

    def _body(self, limit: int | None = None) -> bytes:
        """What comes with a request, or its beginning."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            whole = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(whole if limit is None else min(limit, whole))
        data = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
            if limit is not None and len(data) >= limit:
                return data
        self.rfile.readline()
        return data

    def _send(self, request: Request, answer: Answer, cut_after: int | None = None) -> None:
        request.status = answer.status
        headers = {"X-Request-Id": f"Root={len(self.hub.requests)}", **answer.headers}
        pieces: Iterable[bytes] | None = None
        data = b""
        if callable(answer.body):
            pieces = answer.body()
        else:
            data = answer.data() if answer.body is not None else b""
            headers.setdefault("Content-Length", str(len(data)))
            if not isinstance(answer.body, bytes) and answer.body is not None:
                headers.setdefault("Content-Type", "application/json; charset=utf-8")
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value.encode("ascii", "replace").decode())
        self.end_headers()
        if self.command == "HEAD":
            return None
        try:
            for piece in pieces if pieces is not None else _in_pieces(data[:cut_after]):
                self.wfile.write(piece)
        except OSError:  # the client has had enough
            self.close_connection = True
            return None
        if pieces is not None:
            self.close_connection = True
        return self._cut(b"") if cut_after is not None else None

    def _cut(self, _: bytes) -> None:
        """Break the connection, as a network does: not the end of a message, a reset."""
        self.wfile.flush()
        self.close_connection = True
        if self.command in ("PUT", "POST"):  # what was sent must still arrive on the way down
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def _in_pieces(data: bytes) -> Iterable[bytes]:
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        yield view[start : start + PIECE]
