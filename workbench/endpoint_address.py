"""Where a server is and how to reach it: its address, the key, and a connection that gives the key to nobody else.

Secrets stay out of addresses: what is typed as ``--endpoint`` ends up in reports, so one with a password is refused.
The key comes from the environment alone and travels in one header. A redirect is not followed, ``~/.netrc`` is not
read, and addresses of this machine are asked without a proxy.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from workbench.addresses import bare_address
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import requests

KEYS = ("WORKBENCH_API_KEY", "OPENAI_API_KEY")


def key_from_environment() -> str | None:
    """The key, or ``None`` when there is none.

    Raises:
        WorkbenchError: it holds what no header can; the message does not show it.
    """
    name = key_name()
    key = os.environ.get(name, "").strip() if name else ""
    if not key:
        return None
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise WorkbenchError(f"the key in {name} holds characters that no key has; set it anew")
    return key


def key_name() -> str:
    """The variable that holds the key; empty when none does."""
    return next((name for name in KEYS if os.environ.get(name, "").strip()), "")


def base_address(url: str) -> str:
    """The address up to and with its version: ``http://host:8000`` becomes ``http://host:8000/v1``.

    Raises:
        WorkbenchError: it is none, or holds a password, which would end up in files.
    """
    wanted = "such as http://127.0.0.1:8000 or https://api.openai.com/v1"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise WorkbenchError(f"--endpoint is no address ({error}); give one {wanted}") from error
    if parts.scheme not in ("http", "https") or not host:
        near = f"did you mean http://{url.strip()}? " if re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", url.strip()) else ""
        raise WorkbenchError(f"--endpoint {bare_address(url)} is no address; {near}give one {wanted}")
    if parts.username or parts.password or parts.query:
        raise WorkbenchError(
            f"--endpoint holds more than an address; put the key in {KEYS[0]} and give an address {wanted}"
        )
    path = re.sub(r"/(chat/completions|completions|models)?/*$", "", parts.path)
    if not re.search(r"/v\d\w*(/|$)", path):
        path += "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def open_session(base: str, key: str | None, concurrency: int) -> requests.Session:
    """Kept-open connections to one address, with the key in their header."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.mount(base, HTTPAdapter(pool_maxsize=concurrency))
    session.trust_env = not is_local(base)  # a proxy for the world outside does not know our own addresses

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    session.auth = authorize  # also where there is no key: otherwise a password in ~/.netrc would be sent
    return session


def is_local(base: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(base).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
