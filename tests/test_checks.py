"""What a failed check becomes: an error that names every fault, and an exit code of its own."""

import pytest

from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check, require_passed
from workbench.errors import VerificationError


def test_a_failed_check_is_an_error_with_a_line_for_each_fault():
    checks = [
        Check("layout", PASSED),
        Check("digests", FAILED, "a was altered\nb is missing"),
        Check("bom", FAILED, "there is none"),
    ]
    with pytest.raises(VerificationError) as error:
        require_passed(checks, "here")
    assert error.value.exit_code == 1
    assert str(error.value).splitlines() == [
        "here is not what it says it is; do not use it:",
        "  - digests: a was altered",
        "  - digests: b is missing",
        "  - bom: there is none",
    ]


def test_what_was_not_checked_is_no_failure():
    require_passed([Check("signature", NOT_CHECKED, "give --public-key"), Check("layout", PASSED)], "here")
