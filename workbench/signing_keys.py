"""Keys to sign packages with: elliptic curves in PEM files, and the sentence for every file that is none.

A private key signs and is kept; its public half checks and is given to everybody. OpenSSF's model-signing knows the
curves P-256, P-384 and P-521; ``make_key`` takes the first, which every tool reads::

    python -m workbench signing-key ~/keys/models.pem     # and ~/keys/models.pem.pub

The private key is a file that only its owner may read, without a passphrase: a passphrase that a script can read
guards nothing. A key that matters more belongs into a keyless workflow or a hardware token.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.storage import storage_error

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

PUBLIC_SUFFIX = ".pub"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MOST_BYTES = 1 << 16
_PUBLIC, _PRIVATE = b"-----BEGIN PUBLIC KEY-----", b"PRIVATE KEY-----"


def make_key(path: Path) -> Path:
    """Make a key: the private half at ``path``, readable by its owner alone, the public half beside it (``.pub``).

    Returns:
        The public half's file.

    Raises:
        WorkbenchError: one of the files is there already.
        StorageError: the folder cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    for file in (path, public_path):
        if file.exists() or file.is_symlink():
            raise WorkbenchError(f"{file} is there already, and a key is never replaced; give another path")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(path, pem, 0o600)
    _write_new(public_path, public_pem(key.public_key()), 0o644)
    return public_path


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """A file with these rights from its first byte on, never in place of another."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise WorkbenchError(f"{path} is there already, and a key is never replaced; give another path") from error
    except OSError as error:
        raise storage_error(error, path, "give another path") from error


def private_key(path: Path) -> EllipticCurvePrivateKey:
    """Read a private key.

    Raises:
        WorkbenchError: the file is not there, or holds something else; the message says what.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _read(path)
    if _PUBLIC in pem and _PRIVATE not in pem:
        raise WorkbenchError(f"{path} is a public key, which signs nothing; give the private one")
    key: EllipticCurvePrivateKey = _curve_key(path, "private", lambda: load_pem_private_key(pem, None))
    return key


def public_key(path: Path) -> EllipticCurvePublicKey:
    """Read a public key.

    Raises:
        WorkbenchError: the file is not there, or holds something else; the message says what.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = _read(path)
    if _PRIVATE in pem:
        raise WorkbenchError(f"{path} is a private key, which is not to be handed around; give its public half")
    key: EllipticCurvePublicKey = _curve_key(path, "public", lambda: load_pem_public_key(pem))
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise WorkbenchError(
            f"the key {path} cannot be read ({error.strerror}); give the path of a PEM file"
        ) from error


def _curve_key(path: Path, kind: str, load: Callable[[], Any]) -> Any:
    """The key that ``load`` reads; the library's own texts, which may quote the file, are left out."""
    from cryptography.exceptions import UnsupportedAlgorithm

    make = "make one with: python -m workbench signing-key PATH"
    try:
        key = load()
    except TypeError as error:  # a passphrase is wanted
        raise WorkbenchError(
            f"{path} has a passphrase; write it without one for this run (openssl pkey -in KEY -out PLAIN)"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WorkbenchError(f"{path} is no {kind} key in PEM form, or a damaged one; {make}") from error
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve not in CURVES:
        what = f"on the curve {curve}" if curve else f"of another kind ({type(key).__name__.lstrip('_')})"
        raise WorkbenchError(f"{path} is a key {what}; model-signing takes P-256, P-384 and P-521: {make}")
    return key


def public_pem(key: EllipticCurvePublicKey) -> bytes:
    """A public key as the text that its ``.pub`` file holds."""
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """Hex sha256 of a public key's text: the hint by which model-signing's bundles name their key."""
    return hashlib.sha256(public_pem(key)).hexdigest()
