"""Which key made a signature: an elliptic-curve signature tells its own public key.

A signature (r, s) over a message with hash e holds for the key Q where ``r = x(u1 G + u2 Q)``, ``u1 = e/s``,
``u2 = r/s``. So ``Q = (s R - e G) / r``, with R one of the few points whose x is r (SEC 1, version 2.0, section 4.1.6).
Every valid pair of message and signature leads to its key, and an altered one to a key that nobody has.

That needs no key and proves no authorship; it tells whether a package's signature, its hint and what it signs still
belong together when nobody has said whose key to expect::

    signers(message, signature)    # the keys, two or few more for each curve
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve, EllipticCurvePublicKey

Point = tuple[int, int] | None  # None is the point at infinity


@dataclass(frozen=True)
class Curve:
    """y^2 = x^3 - 3x + b over the integers modulo p, with a generator of order n (SP 800-186, section 3.2.1).

    ``hash`` is what model-signing hashes with on this curve.
    """

    name: str
    p: int
    n: int
    hash: Callable[[bytes], Any]

    @cached_property
    def named(self) -> EllipticCurve:
        """The curve as the cryptography library has it."""
        from cryptography.hazmat.primitives.asymmetric import ec

        return {one.name: one for one in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())}[self.name]

    @cached_property
    def g(self) -> tuple[int, int]:
        """The generator: the public key of the private key 1."""
        from cryptography.hazmat.primitives.asymmetric import ec

        numbers = ec.derive_private_key(1, self.named).public_key().public_numbers()
        return numbers.x, numbers.y

    @cached_property
    def b(self) -> int:
        """The constant: the generator lies on the curve."""
        x, y = self.g
        return (y * y - x * x * x + 3 * x) % self.p

    def add(self, one: Point, other: Point) -> Point:
        """The sum of two points."""
        if one is None or other is None:
            return one or other
        (x1, y1), (x2, y2) = one, other
        if x1 == x2 and (y1 + y2) % self.p == 0:
            return None
        rise, run = (3 * x1 * x1 - 3, 2 * y1) if one == other else (y2 - y1, x2 - x1)
        slope = rise * pow(run, -1, self.p)
        x = (slope * slope - x1 - x2) % self.p
        return x, (slope * (x1 - x) - y1) % self.p

    def times(self, count: int, point: Point) -> Point:
        """A point added to itself; by doubling, most significant bit first."""
        total: Point = None
        for bit in bin(count % self.n)[2:]:
            total = self.add(total, total)
            if bit == "1":
                total = self.add(total, point)
        return total

    def lift(self, x: int) -> Iterator[Point]:
        """The points with this x; p = 3 mod 4 on all three curves, so a root is a power."""
        square = (x * x * x - 3 * x + self.b) % self.p
        y = pow(square, (self.p + 1) // 4, self.p)
        if x < self.p and y * y % self.p == square:
            yield x, y
            yield x, self.p - y


P256 = Curve(
    "secp256r1",
    2**256 - 2**224 + 2**192 + 2**96 - 1,
    2**256 - 2**224 + 2**192 - 0x4319055258E8617B0C46353D039CDAAF,
    hashlib.sha256,
)
P384 = Curve(
    "secp384r1",
    2**384 - 2**128 - 2**96 + 2**32 - 1,
    2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
    hashlib.sha384,
)
P521 = Curve(
    "secp521r1",
    2**521 - 1,
    2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
    hashlib.sha512,
)
CURVES = (P256, P384, P521)


def signers(message: bytes, signature: bytes) -> Iterator[EllipticCurvePublicKey]:
    """The public keys for which a signature over a message holds, on every curve; each may be nobody's.

    Args:
        message: what was signed; it is hashed here.
        signature: DER, as libraries write it.

    Raises:
        ValueError: it is no signature in DER.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    r, s = utils.decode_dss_signature(signature)
    if utils.encode_dss_signature(r, s) != signature:
        raise ValueError("not DER")
    for curve in CURVES:
        for x, y in _keys(curve, int.from_bytes(curve.hash(message).digest()), r, s):
            yield ec.EllipticCurvePublicNumbers(x, y, curve.named).public_key()


def _keys(curve: Curve, digest: int, r: int, s: int) -> Iterator[tuple[int, int]]:
    """Points of the keys. The hash is never longer than the order of its curve here, so it is not cut."""
    if not (0 < r < curve.n and 0 < s < curve.n):
        return
    inverse = pow(r, -1, curve.n)
    for x in (r, r + curve.n):
        for point in curve.lift(x) if x < curve.p else ():
            key = curve.add(
                curve.times(s * inverse, point),
                curve.times(-digest * inverse, curve.g),
            )
            if key is not None:
                yield key
