"""GitHub's REST API, as much as a release needs: requests with a token, tried again where that may help.

An answer of 5xx, a connection that broke and a rate limit pass; everything else is told at once, in one sentence. A
limit says how long to wait (``retry-after``, or ``x-ratelimit-reset`` once nothing remains); else the waits double.
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api

The token goes into a header of requests to the API's own hosts, over TLS or to this machine, and nowhere else: not into
a message, and not where a redirection leads.

    github = GitHub.from_environment()        # GITHUB_TOKEN or GH_TOKEN, GITHUB_API_URL
    github.call("GET", "repos/owner/name/releases", missing="there is no owner/name")
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workbench.addresses import bare_address
from workbench.endpoint_address import is_local
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.secret_scan import redacted

if TYPE_CHECKING:
    import requests

API = "https://api.github.com"
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
VERSION = "2022-11-28"
TRIES = 5
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 120.0  # a limit that lasts longer is told, not waited for
TIMEOUT_S = (10.0, 300.0)  # to connect, and between two pieces of an answer
PER_PAGE = 100


class GitHub:
    """One API with one token.

    Args:
        api: its address.
        token: sent to it.
        wait: sleeps so many seconds.

    Raises:
        WorkbenchError: the address is none that a token may be sent to.
    """

    def __init__(self, api: str, token: str, wait: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(api)
        if parts.username or parts.password or not parts.hostname:
            raise WorkbenchError("GITHUB_API_URL is no plain address; set one such as https://api.github.com")
        self.api = api.rstrip("/")
        self._hosts = _hosts(parts.hostname)
        self._check(api)
        self._session = _session(token)
        self._session.trust_env = not is_local(api)  # a proxy for the world outside does not know this machine
        self._wait = wait

    @classmethod
    def from_environment(cls) -> GitHub:
        """The API and the token that a workflow's step is given.

        Raises:
            PrerequisiteError: there is no token.
        """
        token = next((os.environ[name] for name in TOKENS if os.environ.get(name)), "")
        if not token:
            raise PrerequisiteError(f"a release needs a token; set {TOKENS[0]} to one that may write the contents")
        return cls(os.environ.get("GITHUB_API_URL") or API, token)

    def call(
        self, method: str, where: str, missing: str = "", recover: Callable[[], Any] | None = None, **options: Any
    ) -> Any:
        """One request, tried again where that may help.

        Args:
            method: of HTTP.
            where: path below the API, or a whole address that the API named.
            missing: sentence for 404; without one that is answered with ``None``.
            recover: asked after a failure, before the next try: what stands for the answer if the request was carried
                out all the same, or ``None``. For what must not be done twice.
            options: ``json``, ``params`` or a ``body`` (a function that opens a file) with ``headers``.

        Returns:
            The answer's JSON; ``None`` where it is empty.

        Raises:
            PrerequisiteError: the token is not taken, or may not do this.
            WorkbenchError: what was asked is refused, or no answer came.
        """
        url = where if "://" in where else f"{self.api}/{where}"
        self._check(url)
        for tried in range(1, TRIES + 1):
            answer = self._once(method, url, dict(options), last=tried == TRIES)
            if answer is not None:
                pause = _pause(answer, tried)
                if answer.ok or answer.status_code == 404 or pause is None or tried == TRIES:
                    return _value(answer, missing)
            self._wait(pause if answer is not None and pause else FIRST_WAIT_S * 2 ** (tried - 1))
            if recover is not None and (found := recover()) is not None:
                return found
        raise AssertionError("the last try returns or raises")

    def pages(self, where: str, missing: str) -> Iterator[dict[str, Any]]:
        """Everything that a list holds."""
        page = 1
        while found := self.call("GET", where, missing, params={"per_page": PER_PAGE, "page": page}):
            yield from found
            if len(found) < PER_PAGE:
                return
            page += 1

    def _once(self, method: str, url: str, options: dict[str, Any], last: bool) -> requests.Response | None:
        """One try; ``None`` if the connection broke and another may help."""
        import requests
        from requests.exceptions import ChunkedEncodingError

        try:
            return self._send(method, url, options)
        except requests.RequestException as error:
            if not last and isinstance(error, (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)):
                return None
            raise WorkbenchError(
                f"the connection to GitHub broke off ({type(error).__name__}); run again, it goes on from there"
            ) from None  # its text may repeat the address with whatever was in it

    def _send(self, method: str, url: str, options: dict[str, Any]) -> requests.Response:
        body: Callable[[], IO[bytes]] | None = options.pop("body", None)
        ours: dict[str, Any] = {"timeout": TIMEOUT_S, "allow_redirects": False}
        if body is None:
            return self._session.request(method, url, **ours, **options)
        with body() as data:  # opened anew for each try
            return self._session.request(method, url, data=data, **ours, **options)

    def _check(self, url: str) -> None:
        """See that a token may be sent there."""
        parts = urlsplit(url)
        if parts.hostname not in self._hosts or (parts.scheme != "https" and not is_local(url)):
            raise WorkbenchError(
                f"no token is sent to {bare_address(url)}, which is not {self.api} over TLS; correct GITHUB_API_URL"
            )


def _hosts(api: str) -> set[str]:
    """The API's host and the one beside it that takes uploads (``api.github.com``, ``uploads.github.com``)."""
    return {api, f"uploads.{api.removeprefix('api.')}"} if api.startswith("api.") else {api}


def _session(token: str) -> requests.Session:
    import requests

    from workbench import __version__

    session = requests.Session()
    session.headers.update(
        {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            "User-Agent": f"sqlcoder-workbench/{__version__}",
        }
    )

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    session.auth = authorize  # otherwise a password in ~/.netrc would take its place
    return session


def _pause(answer: requests.Response, tried: int) -> float | None:
    """Seconds to wait before the next try; ``None`` where none would help."""
    limit = _limit_s(answer)
    if limit is not None:
        return limit if limit <= LONGEST_WAIT_S else None
    return FIRST_WAIT_S * 2 ** (tried - 1) if answer.status_code >= 500 else None


def _value(answer: requests.Response, missing: str) -> Any:
    """An answer's JSON, or its sentence raised."""
    if answer.status_code == 404 and not missing:
        return None
    if not answer.ok or answer.is_redirect:
        raise _told(answer, missing)
    return answer.json() if answer.content else None


def _limit_s(answer: requests.Response) -> float | None:
    """Seconds that a rate limit asks to wait; ``None`` where it is no limit."""
    if answer.status_code not in (403, 429):
        return None
    after = answer.headers.get("retry-after", "")
    if after.isdecimal():
        return float(after)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(1.0, float(reset) - time.time())
    return 60.0 if answer.status_code == 429 or "secondary rate limit" in _said(answer) else None


def _message(answer: requests.Response) -> str:
    """What GitHub says of a failure: its message, and for each fault which field is at fault and how."""
    return redacted(_said(answer))  # nobody says that it does not quote what it was sent


def _said(answer: requests.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        return answer.reason or "no reason"
    if not isinstance(said, dict):
        return "no reason"
    faults = [one for one in said.get("errors") or [] if isinstance(one, dict)]
    told = [str(one.get("message") or f"{one.get('field')} {one.get('code')}") for one in faults]
    text = ": ".join(filter(None, [str(said.get("message") or ""), ", ".join(told)]))
    return " ".join(text.split()) or "no reason"


def _told(answer: requests.Response, missing: str) -> WorkbenchError:
    """The sentence for an answer that is final."""
    status, message = answer.status_code, _message(answer)
    if _limit_s(answer) is not None:
        return WorkbenchError(f"GitHub's rate limit is reached ({message}); run again later, it goes on from there")
    if status in (401, 403):
        wants = "set GITHUB_TOKEN to one that is valid" if status == 401 else "give it contents: write there"
        return PrerequisiteError(f"GitHub does not let this token do that ({status}: {message}); {wants}")
    if status == 404:
        return WorkbenchError(missing)
    if status < 400:
        return WorkbenchError("the repository has moved; give its new name with --repository OWNER/NAME")
    wants = "run again later, it goes on from there" if status >= 500 else "correct that and run again"
    return WorkbenchError(f"GitHub did not do it ({status}: {message}); {wants}")
