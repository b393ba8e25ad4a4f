"""What a verification proved and what it did not, in plain words, for who reads one sentence.

A list of checks that passed is easily read as "this is safe and from whom it says". What a package proves by itself is
less: that it is whole and agrees with itself. Who made it is the signature's to say, and that its weights are made from
the named source is known only by making some of them again.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.checks import FAILED, PASSED, Check

REDERIVATION = "re-derivation"
_WORDS = (
    ("digests", "every file is the one that its manifest lists"),
    ("contents", "none of its files runs code or leads elsewhere"),
    ("provenance", "card, bill of materials and provenance belong to it"),
    ("signature", "it is from the signer you named"),
    (REDERIVATION, "the weights looked at are those that the named source and recipe make"),
)
_OPEN = (
    ("provenance", "that nobody took away or redid what should vouch for it"),
    ("signature", "who made it, since whoever alters a file can redo every digest (only a signature tells)"),
    (REDERIVATION, "that its weights come from the named source (--rederive 59 looks at 59 tensors)"),
)


def summary(checks: Sequence[Check]) -> str:
    """One sentence on what was proved, and one on what was not.

    Args:
        checks: of one package, as ``verify_folder`` gives them.
    """
    failed = [check.name for check in checks if check.status == FAILED]
    if failed:
        return f"Not what it says it is: {', '.join(failed)} failed."
    passed = {check.name for check in checks if check.status == PASSED}
    proved = [words for name, words in _WORDS if name in passed]
    missing = [words for name, words in _OPEN if name not in passed]
    told = f"Proved: {'; '.join(proved)}."
    return f"{told} Not proved: {'; '.join(missing)}." if missing else told
