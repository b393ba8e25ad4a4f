"""The command that makes a build again, for its report.

Written from the request and not from ``sys.argv``, so that a build started from Python tells its command too. Only what
differs from the defaults is said. Passwords inside addresses (``postgres://user:secret@host``) become ``***``: a report
is shown to others.

    build_command(BuildRequest("rtx4090", ("gguf-q4_k_m",)))
    # python -m workbench build --profile rtx4090 --recipe gguf-q4_k_m
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from workbench.addresses import without_passwords
from workbench.request import BuildRequest

_SINGULAR = {"recipes": "recipe"}  # a repeated option is named for one of its values


def build_command(request: BuildRequest) -> str:
    """The ``workbench build`` command of a request, quoted for a POSIX shell."""
    words = ["python", "-m", "workbench", "build"]
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if field.default is not dataclasses.MISSING and value == field.default:
            continue
        words += _option(_SINGULAR.get(field.name, field.name), value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is True:
        return [flag]
    values = value if isinstance(value, tuple) else (value,)
    return [word for one in values for word in (flag, without_passwords(str(one)))]
