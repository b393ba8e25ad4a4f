"""Sign a package, and check who signed it: OpenSSF's model-signing over all of its files.

Digests say that a package is whole; anybody who alters it can write new ones. A signature says who stands for it. It
covers the sha256 of every listed file, the manifest and the provenance, and is made in one of two ways: with a key of
one's own, or without any (keyless): Sigstore gives a workflow that proves its identity a certificate for ten minutes
and writes the signature into a public log.

    python -m workbench signing-key models.pem
    python -m workbench package artifacts/sqlcoder-nano/int8 --sign-key models.pem
    model_signing verify key artifacts/sqlcoder-nano/int8 --signature artifacts/sqlcoder-nano/int8/model.sig \\
        --public_key models.pem.pub

The library's own command accepts the package too, also after a download: what the Hub's client and Git leave beside the
files is named in the signature as not covered (``BESIDE``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from workbench.artifact import open_artifact, sha256_file
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.key_recovery import signers
from workbench.package_files import MANIFEST, PROVENANCE, SIGNATURE
from workbench.signature_file import SignatureFile, read_signature
from workbench.signing_keys import fingerprint, private_key, public_key, public_pem
from workbench.whole_file import partial_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

CHECK = "signature"
BESIDE = (".cache", ".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)  # in a package's folder, not signed
_MOST_NAMED = 5


@dataclass(frozen=True)
class _Digests:
    """In place of the library's hashing: digests that were just computed, so that no weights are read twice."""

    name: str
    digests: Mapping[str, str]

    def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:
        """What the library's own ``hashing.Config.hash`` returns."""
        from model_signing import manifest
        from model_signing._hashing.hashing import Digest

        serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": BESIDE}
        items = [
            manifest.FileManifestItem(path=PurePosixPath(name), digest=Digest("sha256", bytes.fromhex(digest)))
            for name, digest in self.digests.items()
        ]
        return manifest.Manifest(self.name, items, manifest.SerializationType.from_args(serialization))

    def add_ignored_paths(self, *, model_path: Any, paths: Iterable[Any]) -> None:
        """Nothing else is looked at here."""


def sign(folder: Path, key: Path | None, keyless: bool = False, digests: Mapping[str, str] | None = None) -> bool:
    """Sign a complete package; a signature that holds already is kept, since every new one has other bytes.

    Args:
        folder: the package.
        key: file of a private key.
        keyless: ask Sigstore for a certificate instead; needs the network and a workflow's identity.
        digests: sha256 of files that were just read, by name; what is missing is read.

    Returns:
        Whether a signature was made.

    Raises:
        WorkbenchError: the key cannot be used.
        PrerequisiteError: keyless without an identity or without the network.
        ArtifactError: the folder is no package.
    """
    _require_library()
    if (key is None) is not keyless:
        raise WorkbenchError("give one of a key and keyless signing: --sign-key FILE, or --keyless")
    signer = private_key(key) if key else None
    signed = signed_digests(folder, digests or {})
    if signer and _holds(folder, signed, signer.public_key()):
        return False
    if keyless and _speaks_of(folder, signed, by_key=False):
        return False
    config = _key_config(key) if key else _keyless_config()
    hashing = _Digests(open_artifact(folder).manifest.name, signed)
    partial = partial_of(folder / SIGNATURE)
    _sign(config.set_hashing_config(hashing), folder, partial)
    partial.replace(folder / SIGNATURE)
    return True


def signed_digests(folder: Path, known: Mapping[str, str]) -> dict[str, str]:
    """sha256 of all that a signature covers, by name: the listed files, the manifest, the provenance.

    Raises:
        ArtifactError: a file is missing.
    """
    listed = [entry.path for entry in open_artifact(folder).manifest.files]
    if not (folder / PROVENANCE).is_file():
        raise ArtifactError(f"{folder} has no {PROVENANCE}; complete it with: python -m workbench package {folder}")
    fresh = {name: sha256_file(folder / name) for name in (MANIFEST, PROVENANCE)}
    return {name: known.get(name) or sha256_file(folder / name) for name in listed} | fresh


def is_signed(folder: Path, digests: Mapping[str, str]) -> bool:
    """Whether a signature is there that speaks of the package's files as they are; whose it is, is not looked at.

    Args:
        folder: the package.
        digests: as for ``sign``.
    """
    signed = signed_digests(folder, digests)
    return any(_speaks_of(folder, signed, by_key) for by_key in (True, False))


def _speaks_of(folder: Path, signed: Mapping[str, str], by_key: bool) -> bool:
    try:
        found = read_signature((folder / SIGNATURE).read_bytes())
    except (OSError, ValueError):
        return False
    return found.digests == dict(signed) and found.by_key is by_key


def _holds(folder: Path, signed: Mapping[str, str], public: EllipticCurvePublicKey) -> bool:
    """Whether the signature there is of these files and by this key."""
    if not _speaks_of(folder, signed, by_key=True):
        return False
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "key.pub"
        file.write_bytes(public_pem(public))
        return verify_signature(folder, file, digests=signed).status == PASSED


def _require_library() -> None:
    try:
        import model_signing  # noqa: F401
    except ImportError as error:
        missing = "pyopenssl" if (error.name or "").startswith("OpenSSL") else "model-signing"
        raise PrerequisiteError(f"signatures need {missing}; install it with: pip install {missing}") from error


def _key_config(key: Path) -> Any:
    from model_signing.signing import Config

    config: Any = Config  # without types
    return config().use_elliptic_key_signer(private_key=key)


def _keyless_config() -> Any:
    """Sigstore's signer for the identity that this workflow can prove; a browser is never opened."""
    from model_signing.signing import Config
    from sigstore.oidc import IdentityError, detect_credential

    try:
        token = detect_credential()
    except IdentityError as error:
        raise PrerequisiteError(
            "keyless signing found no identity token that it may use; give the workflow's job the permission "
            "id-token: write"
        ) from error
    if token is None:
        raise PrerequisiteError(
            "keyless signing needs the identity of a workflow (GitHub Actions with id-token: write, GitLab, Google "
            "Cloud); here, sign with --sign-key FILE"
        )
    config: Any = Config  # without types
    with _network_errors():
        return config().use_sigstore_signer(identity_token=token)


def _sign(config: Any, folder: Path, to: Path) -> None:
    with _network_errors():
        config.sign(folder, to)


@contextmanager
def _network_errors() -> Iterator[None]:
    """What Sigstore's services and the way to them fail with, as one sentence; their texts may quote a token."""
    from requests import RequestException
    from sigstore._internal.fulcio.client import ExpiredCertificate, FulcioClientError
    from sigstore._internal.rekor import RekorClientError
    from sigstore.errors import Error
    from sigstore.oidc import ExpiredIdentity, IssuerError
    from urllib3.exceptions import HTTPError

    services = (Error, IssuerError, FulcioClientError, RekorClientError, ExpiredCertificate, ExpiredIdentity)
    try:
        yield
    except (*services, HTTPError, RequestException) as error:
        raise PrerequisiteError(
            f"Sigstore could not be asked ({type(error).__name__}); see that this machine reaches sigstore.dev and "
            "that the identity token is fresh, then run again"
        ) from None


def trusted_key(public: Path | None, identity: str | None, issuer: str | None) -> EllipticCurvePublicKey | None:
    """The key that is trusted, where it is one; for those who want to know early that they named nobody.

    Raises:
        WorkbenchError: the key cannot be used, or the identity is named without its issuer.
    """
    if (identity is None) is not (issuer is None) or (public and identity):
        raise WorkbenchError("name who is trusted in one way: --public-key FILE, or --identity together with --issuer")
    return public_key(public) if public else None


def verify_signature(
    folder: Path,
    public: Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
    digests: Mapping[str, str] | None = None,
) -> Check:
    """Check a package's signature, by a key or by the identity of who signed without one.

    Args:
        folder: the package.
        public: file of the public key that is trusted.
        identity: of the signer, e.g. the address of a workflow's file at a tag.
        issuer: who proves that identity, e.g. ``https://token.actions.githubusercontent.com``.
        digests: sha256 of files that were just read, by name; what is missing is read.

    Returns:
        Passed, failed, or not checked where nobody was named who is trusted; a signature that is damaged or speaks of
        other files fails all the same.

    Raises:
        WorkbenchError: the key cannot be used, or the identity is named without its issuer.
        PrerequisiteError: a library is missing, or the network, which keyless checks need.
    """
    trusted = trusted_key(public, identity, issuer)
    try:
        content = (folder / SIGNATURE).read_bytes()
    except FileNotFoundError:
        return Check(CHECK, FAILED if public or identity else NOT_CHECKED, "the package is not signed")
    try:
        found = read_signature(content)
    except ValueError as error:
        return Check(CHECK, FAILED, f"{SIGNATURE} {error}")
    signed = signed_digests(folder, digests or {})
    fault = _fault(found, signed, fingerprint(trusted) if trusted else None, identity)
    if fault:
        return Check(CHECK, FAILED, fault)
    if trusted is None and identity is None:
        return _unnamed(found)
    _require_library()
    return _verified(folder, _verifier(public, identity, issuer), signed)


def _fault(found: SignatureFile, signed: Mapping[str, str], hint: str | None, identity: str | None) -> str:
    """What is wrong with a signature by its looks; empty if nothing is, which proves nothing."""
    if hint and not found.by_key:
        return "it is signed by a certificate, not by a key; give --identity and --issuer"
    if identity and found.by_key:
        return "it is signed by a key, not by an identity; give --public-key"
    if hint and found.hint != hint:
        return "it is signed by another key"
    names = {name for name in {*found.digests, *signed} if found.digests.get(name) != signed.get(name)}
    if names:
        some = ", ".join(repr(name) for name in sorted(names)[:_MOST_NAMED])
        return f"what was signed differs from what is here: {some}{' ...' if len(names) > _MOST_NAMED else ''}"
    return ""


def _unnamed(found: SignatureFile) -> Check:
    """A signature without anybody to expect it from: it may still contradict itself."""
    if not found.by_key:
        return Check(CHECK, NOT_CHECKED, "it is signed by a certificate; give --identity and --issuer to check by whom")
    try:
        holds = any(fingerprint(key) == found.hint for key in signers(found.message, found.value))
    except ValueError:
        holds = False
    if not holds:
        return Check(CHECK, FAILED, "the signature does not hold for the key that it names; it was altered")
    told = f"it holds for the key {found.hint[:16]}...; whose that is, --public-key FILE can tell"
    return Check(CHECK, NOT_CHECKED, told)


def _verifier(public: Path | None, identity: str | None, issuer: str | None) -> Any:
    from model_signing.verifying import Config

    config: Any = Config  # without types
    if public:
        return config().use_elliptic_key_verifier(public_key=public)
    with _network_errors():
        return config().use_sigstore_verifier(identity=identity or "", oidc_issuer=issuer or "")


def _verified(folder: Path, config: Any, signed: Mapping[str, str]) -> Check:
    """The library's own verdict."""
    from cryptography.exceptions import InvalidSignature
    from sigstore.errors import VerificationError

    hashing = _Digests(open_artifact(folder).manifest.name, signed)
    try:
        config.set_hashing_config(hashing).verify(folder, folder / SIGNATURE)
    except (ValueError, KeyError, TypeError, InvalidSignature, VerificationError):
        return Check(CHECK, FAILED, "the signature does not belong to these files and this signer; it was altered")
    return Check(CHECK, PASSED, f"the signature over {len(signed)} files holds")
