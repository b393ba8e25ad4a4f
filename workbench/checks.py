"""What one look at a package found: a name, whether it passed, and a sentence that says what that means.

``workbench verify`` looks at many things, each of which may be right, wrong, or beyond what can be seen from here: a
signature says nothing to who has no key. The three are kept apart, so that "nothing was found" is never shown as
"all is well"::

    Check("digests", PASSED, "9 files, 4.0 MiB, are those that the manifest lists")
    Check("signature", NOT_CHECKED, "there is one; give --public-key to check it")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.errors import VerificationError

Status = Literal["passed", "failed", "not checked"]
PASSED: Status = "passed"
FAILED: Status = "failed"
NOT_CHECKED: Status = "not checked"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of what was looked at, e.g. ``digests``.
        status: ``passed``, ``failed`` or ``not checked``.
        detail: what was found, or why nothing was looked for, and what to do; one line for each fault.
    """

    name: str
    status: Status
    detail: str = ""


def require_passed(checks: Sequence[Check], where: object) -> None:
    """Refuse what failed a check.

    Args:
        checks: of one package.
        where: the package, for the message.

    Raises:
        VerificationError: a check failed; one line for each that did.
    """
    failed = [check for check in checks if check.status == FAILED]
    if failed:
        lines = "".join(f"\n  - {check.name}: {line}" for check in failed for line in check.detail.splitlines() or [""])
        raise VerificationError(f"{where} is not what it says it is; do not use it:{lines}")
