"""The signature's file, ``model.sig``: a Sigstore bundle, read strictly.

OpenSSF's model-signing writes one line of JSON: a DSSE envelope, whose payload is an in-toto statement that lists every
file with its sha256, the signature over that payload, and what names the key or holds the certificate::

    {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
     "verificationMaterial": {"publicKey": {"hint": "<sha256 of the key>"}, "tlogEntries": []},
     "dsseEnvelope": {"payload": "<base64>", "payloadType": "application/vnd.in-toto+json",
                      "signatures": [{"sig": "<base64>", "keyid": ""}]}}

A signature covers the payload, not the bundle around it: spaces, unknown fields, base64's unused bits, a second
signature could be altered and nobody would see it. So a bundle made with a key is taken in exactly the form above, and
one with a certificate in the form in which the library writes it again.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MOST_BYTES = 32 << 20  # a package of 100,000 files stays below


@dataclass(frozen=True)
class SignatureFile:
    """What a signature's file says; nothing of it is proved.

    Attributes:
        by_key: whether a key signed; else a certificate.
        hint: sha256 of the public key, where a key signed.
        name: the signed package's own name.
        digests: sha256 of every file that is signed, by name.
        message: the bytes that are signed.
        value: the signature over them.
    """

    by_key: bool
    hint: str
    name: str
    digests: dict[str, str]
    message: bytes
    value: bytes


def read_signature(content: bytes) -> SignatureFile:
    """Read a signature's file.

    Raises:
        ValueError: it is none, or not in the form in which it was written; the message ends the sentence "it ...".
    """
    if len(content) > MOST_BYTES:
        raise ValueError("is larger than any signature")
    try:
        bundle = json.loads(content.decode("ascii"))
        by_key = "publicKey" in bundle["verificationMaterial"]
        hint = bundle["verificationMaterial"]["publicKey"]["hint"] if by_key else ""
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)
        statement = json.loads(payload)
        signed = {one["name"]: _sha256(one) for one in statement["predicate"]["resources"]}
        name = str(statement["subject"][0]["name"])
        value = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"], validate=True)
        plain = _canonical(bundle, hint) if by_key else _library_form(content)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError("is no signature of model-signing, or a damaged one") from error
    if plain != content:
        raise ValueError("is not in the form in which it was written, so somebody altered it")
    return SignatureFile(by_key, hint, name, signed, _encoded(payload), value)


def _encoded(payload: bytes) -> bytes:
    """What a DSSE envelope has signed: its payload with type and lengths before it (DSSE 1.0, protocol.md)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _sha256(resource: dict[str, Any]) -> str:
    if resource["algorithm"] != "sha256":
        raise ValueError("another digest than sha256")
    return str(resource["digest"])


def _canonical(bundle: dict[str, Any], hint: str) -> bytes:
    """A key's bundle written anew from its three values."""
    envelope = bundle["dsseEnvelope"]
    values = [envelope["payload"], envelope["signatures"][0]["sig"]]
    payload, signature = (base64.b64encode(base64.b64decode(value, validate=True)).decode() for value in values)
    plain = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": signature, "keyid": ""}],
        },
    }
    return json.dumps(plain, separators=(",", ":")).encode("ascii")


def _library_form(content: bytes) -> bytes:
    """A certificate's bundle as the library that made it writes it."""
    from sigstore.errors import Error
    from sigstore.models import Bundle

    try:
        return Bundle.from_json(content).to_json().encode("ascii")
    except Error as error:
        raise ValueError("no bundle") from error
