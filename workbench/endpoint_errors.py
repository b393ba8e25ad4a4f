"""What goes wrong between us and a server, each in one sentence that says what to do.

Three kinds. What may pass (``Passing``: too busy, restarting, cut off) is asked again. What concerns one prompt
(``Unanswered``: too long, no answer in time) leaves the others. Anything else is a ``WorkbenchError`` that ends the
run: a wrong address, key or model.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import requests

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)  # as OpenAI's own clients take them
REFUSED = (400, 413, 422)  # this prompt is not answered; another may be
CONNECT_S = 10.0
LONGEST_WAIT_S = 60.0
SHOWN_TEXT = 200


class Unanswered(WorkbenchError):
    """A question that got no answer, though another may get one.

    Attributes:
        refused: the server will not answer this prompt (it is too long, say): asking again is no use.
    """

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class Passing(Exception):
    """A failure that may pass; ``wait_s`` is what the server asks for."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def retry_after(reply: requests.Response) -> float | None:
    """Seconds the server asks to wait, up to our own longest wait."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util.retry import Retry

    try:
        asked: float = Retry().parse_retry_after(reply.headers["Retry-After"])
    except (KeyError, InvalidHeader):
        return None
    return min(asked, LONGEST_WAIT_S)


def unreachable(error: requests.RequestException, base: str) -> str:
    """Why nobody answers at an address, and what to do."""
    import requests
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.exceptions.SSLError):
        trust = "shows a certificate that is not trusted here; set REQUESTS_CA_BUNDLE to your authority's file"
        return f"{base} " + (trust if "CERTIFICATE" in str(error).upper() else "does not speak https; try http://")
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy on the way to {base} refuses; correct HTTPS_PROXY, or name the host in NO_PROXY"
    if isinstance(reason, NameResolutionError):
        return f"there is no host {urlsplit(base).hostname}; correct --endpoint"
    if isinstance(error, requests.Timeout):
        return f"{base} does not answer within {CONNECT_S:g} s; correct --endpoint, or see that the server runs"
    if isinstance(reason, NewConnectionError):
        return f"nothing listens at {base}; start the server, or correct --endpoint"
    return f"{base} broke the connection off"


def nearest(name: str, listed: Iterable[str]) -> str:
    """``, did you mean ...?`` with the nearest of the names, whole or without what is before their slash."""
    names = list(listed)
    short = {one.rpartition("/")[2].lower(): one for one in names}
    near = difflib.get_close_matches(name, names, 1) or [
        short[one] for one in difflib.get_close_matches(name.rpartition("/")[2].lower(), short, 1)
    ]
    return f", did you mean {near[0]!r}?" if near else ""


def said(reply: requests.Response, key: str | None) -> str:
    """``: what the server says`` about a failure, in every form that servers have for it, without the key."""
    try:
        value = reply.json()
    except ValueError:
        value = reply.text
    for name in ("error", "detail", "message"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    text = short(value if isinstance(value, str) else str(value), key)
    return f": {text}" if text else ""


def short(text: str, key: str | None) -> str:
    """A text as one line of bounded length, without the key and without what a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else " " for letter in (text.replace(key, "***") if key else text))
    line = " ".join(shown.split())
    return line if len(line) <= SHOWN_TEXT else line[:SHOWN_TEXT] + "..."
