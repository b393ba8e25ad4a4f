"""How to ask llama.cpp's server: completions in this process, everything else over its socket.

``/completion`` tells, on request, the most probable tokens with their log-probabilities. It tells nothing of a token
that is only part of a character, so it is made to write a whole one each time; what it tells are the model's own
probabilities, before that bias.

Source: github.com/ggml-org/llama.cpp, tools/server/README.md.

Example::

    ask = partial(post, server, "/completion")
    best = told_next(ask, {"prompt": "SELECT"}, count=4, forced=17)[0]
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

from workbench.errors import WorkbenchError

Ask = Callable[[dict[str, Any]], dict[str, Any]]
LEAST_LOGPROB = -80.0  # of a float32 probability that is not zero; the engine says -inf below
FORCED_BIAS = 1000.0
GREEDY = {"temperature": 0.0, "samplers": ["temperature"]}  # no penalties, no truncation: the most probable token


def complete(server: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One answer as the engine gives it (fields of llama-server's /v1/completions)."""
    reply: dict[str, Any] = server.handle_completions(request)
    if "error" in reply:
        raise WorkbenchError(f"llama.cpp refuses the prompt: {reply['error']['message']}")
    return reply


def context_of(server: Any) -> int:
    """Tokens of prompt and answer the engine takes: as asked for, but no more than the model was trained for."""
    size: int = _asked(server, "GET", "/props", None)["default_generation_settings"]["n_ctx"]
    return size


def post(server: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """An answer of the engine's server that its Python side has no call for."""
    return _asked(server, "POST", path, json.dumps(body))


def _asked(server: Any, method: str, path: str, body: str | None) -> dict[str, Any]:
    connection = _connection(server.listening_address)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if "error" in reply:
        raise WorkbenchError(f"llama.cpp refuses {path}: {reply['error']['message']}")
    return reply


def end_ids(ask: Ask) -> frozenset[int]:
    """End-of-text ids, as the engine knows them: those it would forbid if told to ignore the end."""
    reply = ask({"prompt": "", "n_predict": 0, "ignore_eos": True})
    return frozenset(entry["token"] for entry in reply["generation_settings"]["logit_bias"])


def told_next(ask: Ask, request: dict[str, Any], count: int, forced: int) -> list[dict[str, Any]]:
    """The ``count`` most probable next tokens, best first: ``id``, ``bytes`` and ``logprob`` of each.

    Args:
        ask: posts a request to ``/completion``.
        request: with the ``prompt``, text or token ids.
        count: of tokens; as many as there are, at most.
        forced: id of a token that is a whole character.
    """
    probabilities = {"n_probs": count, "post_sampling_probs": False, "response_fields": ["completion_probabilities"]}
    reply = ask({**request, **GREEDY, **probabilities, "n_predict": 1, "logit_bias": [[forced, FORCED_BIAS]]})
    told: list[dict[str, Any]] = reply["completion_probabilities"][0]["top_logprobs"]
    return [{**token, "logprob": max(token["logprob"], LEAST_LOGPROB)} for token in told]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _connection(address: str) -> http.client.HTTPConnection:
    scheme, _, place = address.partition("://")
    return _UnixConnection(place) if scheme == "unix" else http.client.HTTPConnection(place)
