"""Addresses as they may be shown to others: without what opens what they name.

Reports, cards and errors are read by others than who typed an address. A command that shall be run again keeps its user
and database and loses the password alone (``without_passwords``). Elsewhere name, password and query go: in sentences,
where what has no ``://`` is no address (``without_login``), and in what was given as one, whatever it looks like
(``bare_address``). A password may hold ``/``, ``?`` and ``@``, unescaped, so a login reaches to the last ``@``.

    without_passwords("postgres://me:hush@db/x")        # "postgres://me:***@db/x"
    without_login("no answer from https://me:hush@db/x?key=1 today")        # "no answer from https://db/x today"
"""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?P<before>\w+://[^:/@\s]*:)[^/\s]*(?=@)|(?P<key>password=)[^\s&]+", re.IGNORECASE)
_LOGIN = re.compile(r"://\S*@")
_FIRST = re.compile(r"^([^/]*//)?.*@", re.DOTALL)
_QUERY = re.compile(r"(://[^\s?]*)\?[^\s'\"]*")


def without_passwords(text: str) -> str:
    """A text whose addresses keep their user and lose their password."""
    return _PASSWORD.sub(lambda found: f"{found['before'] or found['key']}***", text)


def without_login(text: str) -> str:
    """An address, or a sentence with addresses in it, without user names, passwords and query strings."""
    return _QUERY.sub(r"\1", _LOGIN.sub("://", text))


def bare_address(url: str) -> str:
    """One address, perhaps without its scheme, without name, password, query and fragment."""
    return re.split(r"[?#]", _FIRST.sub(r"\1", url.strip()))[0] or "nowhere"
