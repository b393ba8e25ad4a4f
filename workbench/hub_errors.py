"""What goes wrong while the Hub is written: which failures pass by waiting, and what to do about the others.

The Hub's client tries a request again by itself where a server is busy (429, 5xx) or a connection breaks; not the
commit, since one that was carried out while its answer was lost must not be made twice. A push therefore tries the
whole again, from what the Hub holds by then. A conflict (409, 412: somebody else committed in between) is tried again
at once, a busy server after the time it asks for (``Retry-After``, RFC 9110 section 10.2.3), a broken connection after
1, 2, 4 ... seconds. Whatever remains becomes one sentence.

An error's own text may quote signed addresses, and a server may send back what it was sent: only a server's own
message is told, in one line, without any secret in it.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from workbench.addresses import without_login
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.progress import Listener
from workbench.secret_scan import redacted

if TYPE_CHECKING:
    from httpx2 import Response

ATTEMPTS = 5  # of the whole; the client's own attempts at one request come on top
LONGEST_WAIT_S = 300
CONFLICTS = (409, 412)
LONGEST_MESSAGE = 200  # characters of what a server says
LOGIN = "log in with a token that may: hf auth login"
_BUSY = (429, 500, 502, 503, 504)
_FULL = (402, 413, 507)
_SPOKEN_OF_SPACE = re.compile(r"storage|quota", re.IGNORECASE)
pause: Callable[[float], None] = time.sleep
Done = TypeVar("Done")


@contextmanager
def user_errors(repository: str) -> Iterator[None]:
    """The Hub client's errors as one sentence that says what to do."""
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    try:
        yield
    except (HubError, OSError) as error:
        raise told(repository, error) from error
    except (RuntimeError, ValueError, KeyError) as error:  # an upload's thread, Xet, an answer that is not the Hub's
        if _is_ours(error):
            raise
        raise told(repository, error) from error


def _is_ours(error: BaseException) -> bool:
    """Whether an error came up in the workbench itself: a bug, which keeps its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "workbench"


@contextmanager
def quiet(listener: Listener) -> Iterator[None]:
    """The client's log kept off the terminal; that it waits and tries again is told to the listener."""
    import huggingface_hub.utils.logging  # noqa: F401  # sets its logger up as it is imported, so not later

    logger, told_by = logging.getLogger("huggingface_hub"), _Telling(listener)
    level, propagates = logger.level, logger.propagate
    handlers = list(logger.handlers)
    logger.handlers, logger.propagate = [told_by], False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagates
        logger.setLevel(level)


class _Telling(logging.Handler):
    """Tells of the client's own retries; its other warnings quote addresses."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the client's logger."""
        found = re.search(r"(?:Retrying in|Waiting) ([\d.]+)s", record.getMessage())
        if found:
            self._listener.note(f"the Hub is busy or the connection broke; trying again in {found[1]} s")


def cause(error: BaseException) -> BaseException:
    """What failed in an upload's own thread, which arrives wrapped in a RuntimeError."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error stands for; ``None`` where no answer came."""
    response = _response(error)
    return None if response is None else response.status_code


def _response(error: BaseException) -> Response | None:
    response = getattr(cause(error), "response", None)
    return response if hasattr(response, "status_code") else None


def is_conflict(error: BaseException) -> bool:
    """Whether the repository was changed by others meanwhile."""
    return status_of(error) in CONFLICTS


def is_broken_connection(error: BaseException) -> bool:
    """Whether a connection could not be made, or broke, or something in between answered."""
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    found = cause(error)
    if isinstance(found, (OfflineModeIsEnabled, LocalTokenNotFoundError)) or status_of(error) is not None:
        return False
    return isinstance(found, (HubError, OSError, RuntimeError, json.JSONDecodeError))  # RuntimeError: Xet's own


def waiting_time(error: BaseException, attempt: int) -> float | None:
    """Seconds to wait before the whole is tried again; ``None`` where waiting does not help.

    Args:
        error: the client's.
        attempt: how many there were, from 1.
    """
    if is_conflict(error):
        return 0.2 * attempt
    if status_of(error) not in _BUSY and not is_broken_connection(error):
        return None
    response = _response(error)
    asked = _asked(response.headers.get("Retry-After", "")) if response is not None else None
    return min(asked if asked is not None else float(2 ** (attempt - 1)), LONGEST_WAIT_S)


def _asked(header: str) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or as a date; ``None`` if it cannot be understood."""
    if header.isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def told(repository: str, error: BaseException) -> WorkbenchError:
    """An error of the Hub's client as a sentence for the user."""
    from huggingface_hub import errors

    found, response = cause(error), _response(error)
    if response is not None:
        return _refused(repository, response.status_code, one_line(getattr(found, "server_message", None) or ""))
    sentences: list[tuple[tuple[type[BaseException], ...], str, type[WorkbenchError]]] = [
        ((errors.OfflineModeIsEnabled,), "HF_HUB_OFFLINE is set; unset it to upload", PrerequisiteError),
        ((errors.LocalTokenNotFoundError,), "uploading needs a token; log in with: hf auth login", PrerequisiteError),
        ((errors.HFValidationError,), f"{repository!r} is no Hub id; give OWNER/NAME, such as me/nano", WorkbenchError),
        (
            (json.JSONDecodeError, KeyError),
            f"what answers for {repository} does not speak as the Hub does; check HF_ENDPOINT and the proxy",
            WorkbenchError,
        ),
        ((ValueError,), f"the Hub refuses the upload to {repository}: {one_line(str(found))}", WorkbenchError),
    ]
    for kinds, sentence, kind in sentences:
        if isinstance(found, kinds):
            return kind(sentence)
    return WorkbenchError(
        f"the connection to the Hub broke off while {repository} was written ({type(found).__name__}); "
        "run again, it goes on from there"
    )


def _refused(repository: str, status: int, said: str) -> WorkbenchError:
    because = f"{status}: {said}" if said else str(status)
    if status in _FULL or (status == 403 and _SPOKEN_OF_SPACE.search(said)):
        return WorkbenchError(
            f"the Hub has no room for {repository} ({because}); free or buy storage there, or push with --public, "
            "then run again: what is there already is not sent again"
        )
    if status in (401, 403):
        return PrerequisiteError(f"the Hub does not let you write to {repository} ({because}); {LOGIN}")
    if status in CONFLICTS:
        return WorkbenchError(f"{repository} is being changed by somebody else ({because}); run again in a moment")
    sentences = {
        404: f"the Hub has no {repository} of this revision that your token may see ({because}); check the name, or "
        f"{LOGIN}",
        429: f"the Hub asks to come back later ({because}); run again in a while, it goes on with {repository}",
        500: f"the Hub failed while {repository} was written ({because}); run again later, it goes on from there",
    }
    return WorkbenchError(sentences.get(min(status, 500), f"the Hub refuses the upload to {repository} ({because})"))


def one_line(text: str) -> str:
    """What a server said, fit for a terminal: no secrets, no logins, no control characters, not long."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return without_login(redacted(line))[:LONGEST_MESSAGE]


def insisting(work: Callable[[], Done], what: str, listener: Listener, is_reached: bool = True) -> Done:
    """Do a piece of work until it is done or waiting does not help; each new attempt is told.

    Args:
        work: reads the state of things anew each time it is called; raises the client's own errors.
        what: for messages, e.g. the repository's name.
        listener: hears why it waits.
        is_reached: whether the Hub has answered before; if not, a connection that fails is not tried again.
    """
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]

    attempt = 1
    while True:
        try:
            return work()
        except (HubError, OSError, RuntimeError, json.JSONDecodeError) as error:
            wait = waiting_time(error, attempt)
            if wait is None or attempt == ATTEMPTS or (not is_reached and is_broken_connection(error)):
                raise
            attempt += 1
            reason = "somebody else changed it meanwhile" if is_conflict(error) else f"the Hub failed ({_short(error)})"
            listener.note(f"{what}: {reason}; trying again in {wait:.3g} s, attempt {attempt} of {ATTEMPTS}")
            pause(wait)


def _short(error: BaseException) -> str:
    return str(status_of(error) or type(cause(error)).__name__)
