"""Keys out of signatures, against the keys and the verdicts of the cryptography library."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from workbench.key_recovery import CURVES, signers
from workbench.signing_keys import fingerprint

KINDS = ((ec.SECP256R1(), hashes.SHA256()), (ec.SECP384R1(), hashes.SHA384()), (ec.SECP521R1(), hashes.SHA512()))


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_curves_are_those_of_the_standard(curve) -> None:
    assert curve.add(curve.times(curve.n - 1, curve.g), curve.g) is None
    named = next(one for one, _ in KINDS if one.name == curve.name)
    for scalar in (1, 2, 3, 12345678901234567890, curve.n - 1):
        numbers = ec.derive_private_key(scalar, named).public_key().public_numbers()
        assert curve.times(scalar, curve.g) == (numbers.x, numbers.y)


@pytest.mark.parametrize(("kind", "algorithm"), KINDS, ids=lambda one: one.name)
def test_a_signature_leads_to_its_key(kind, algorithm) -> None:
    for number in range(5):
        key, message = ec.generate_private_key(kind), hashlib.sha512(bytes([number])).digest()
        signature = key.sign(message, ec.ECDSA(algorithm))
        found = {fingerprint(one): one for one in signers(message, signature)}
        assert fingerprint(key.public_key()) in found
        for one in found.values():  # the library agrees about every one on this curve
            if one.curve.name == kind.name:
                one.verify(signature, message, ec.ECDSA(algorithm))
        with pytest.raises(InvalidSignature):
            next(iter(found.values())).verify(signature, message + b"x", ec.ECDSA(algorithm))
        assert fingerprint(key.public_key()) not in {fingerprint(one) for one in signers(message + b"x", signature)}


@pytest.mark.parametrize("signature", [b"", b"\x30\x06\x02\x01\x01\x02\x01", b"\x30\x07\x02\x02\x00\x01\x02\x01\x01"])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(signers(b"x", signature))


def test_zero_is_no_signature() -> None:
    assert list(signers(b"x", b"\x30\x06\x02\x01\x00\x02\x01\x00")) == []
