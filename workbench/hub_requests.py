"""Questions to the Hub whose answers are not trusted: where the token goes, how much is read, what is tried again.

The Hub's client asks for what it needs and reads what comes. Who fetches a stranger's files asks more carefully:

- the token goes to the Hub's own address and is dropped for good at the first redirect to another origin (RFC 9110,
  section 15.4: remove ``Authorization`` where the target differs), such as the host that keeps large files
- a redirect stays with HTTP, does not fall from https to http, and there are few of them
- nothing comes compressed (``Accept-Encoding: identity``): a small answer cannot grow into a large one
- what is read has an upper bound, and the bodies of errors are not read at all

A connection that breaks and a server that is busy (408, 429, 5xx) are worth another try, a refusal is not.

    with answer_of(hf_hub_url("me/nano", "manifest.json", revision=commit)) as answer: ...
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from workbench.errors import TransferError

MOST_REDIRECTS = 5
LONGEST_ADDRESS = 8192
WAITS_S = (1.0, 2.0, 4.0, 8.0)  # before the second try, the third ...
LONGEST_WAIT_S = 60.0  # that a server may ask for
BUSY = (408, 429, 500, 502, 503, 504)
T = TypeVar("T")


@contextmanager
def answer_of(url: str, first: int = 0) -> Iterator[Any]:
    """The answer to a GET, its body not read yet (an HTTP response of the client's library).

    Args:
        url: of the Hub.
        first: byte to begin with; the server may send all (200) or from there (206).

    Raises:
        huggingface_hub.errors.HfHubHTTPError: a status from 400 on; its body was not read.
        huggingface_hub.errors.HTTPError, OSError: no connection, or a broken one.
        TransferError: it redirects where nobody should follow, or comes compressed.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported, but not declared so

    headers = {**build_hf_headers(), "accept-encoding": "identity"}
    if first:
        headers["range"] = f"bytes={first}-"
    more: dict[str, Any] = {"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "follow_redirects": False}
    for _ in range(MOST_REDIRECTS + 1):
        with get_session().stream("GET", url, headers=headers, **more) as response:
            if not response.has_redirect_location:
                if response.status_code >= 400:
                    raise HfHubHTTPError(f"HTTP status {response.status_code}", response=response)
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise TransferError("the server sends compressed what was to come as it is; tell its owner")
                yield response
                return
            target = redirected(url, response.headers["location"])
        if _origin(target) != _origin(url):
            headers.pop("authorization", None)
        url = target
    raise TransferError(f"the server redirects more than {MOST_REDIRECTS} times; tell its owner")


def redirected(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        TransferError: to no address, another protocol, or from https to http.
    """
    try:
        target = urljoin(url, location)
        scheme, host, _ = _origin(target)
    except ValueError:
        scheme = host = ""
    allowed = ("https",) if urlsplit(url).scheme == "https" else ("https", "http")
    if scheme not in allowed or not host or len(target) > LONGEST_ADDRESS or not re.fullmatch(r"[!-~]+", target):
        raise TransferError("the server redirects to what is no address of the web; tell its owner")
    return target


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def read_bounded_answer(url: str, most_bytes: int) -> tuple[bytes, str | None]:
    """The body of an answer, and the address of the next page where the server names one.

    Raises:
        TransferError: it is larger than that, or the next page lies elsewhere. Others as ``answer_of``.
    """
    with answer_of(url) as response:
        data = bytearray()
        for piece in response.iter_raw():
            data += piece
            if len(data) > most_bytes:
                raise TransferError(f"the server's answer is larger than {most_bytes} bytes; tell its owner")
        following = response.links.get("next", {}).get("url")
    if following is None:
        return bytes(data), None
    following = redirected(url, following)
    if _origin(following) != _origin(url):
        raise TransferError("the server's list goes on elsewhere; tell its owner")
    return bytes(data), following


def pause_before(attempt: int, error: Exception) -> float | None:
    """Seconds to wait before the next attempt, ``None`` where another would not help.

    Args:
        attempt: number of the attempt that failed, from 0 on.
        error: what it failed by.
    """
    from huggingface_hub.errors import HfHubHTTPError

    if attempt >= len(WAITS_S):
        return None
    if not isinstance(error, HfHubHTTPError):
        return WAITS_S[attempt]
    if error.response.status_code not in BUSY:
        return None
    asked = error.response.headers.get("retry-after", "")
    wait = max(WAITS_S[attempt], float(asked)) if re.fullmatch(r"\d{1,9}", asked) else WAITS_S[attempt]
    return wait if wait <= LONGEST_WAIT_S else None


def patiently(ask: Callable[[], T]) -> T:
    """Ask again while the server is busy; where there is no connection at all, that is said at once.

    Raises:
        Errors of ``ask``, after some attempts.
    """
    from huggingface_hub.errors import HfHubHTTPError

    attempt = 0
    while True:
        try:
            return ask()
        except HfHubHTTPError as error:
            pause = pause_before(attempt, error)
            if pause is None:
                raise
        attempt += 1
        time.sleep(pause)
