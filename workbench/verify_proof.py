"""What vouches for a package: its card and licence, its bill of materials, its provenance, its signature.

All but the signature are made of the manifest alone (``workbench/package.py``), so they are made again here and
compared byte by byte: a card that praises more than was measured is found like an altered bit, though whoever wrote it
redid every digest. Another version of the workbench may word things differently (``workbench/package_maker.py``). Of
what one made, schema, digests and subjects are looked at, and the check says that the words were not. Nobody but the
holder of a key can redo the signature.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.artifact import Manifest, manifest_of, model_files
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check
from workbench.errors import ArtifactError, PrerequisiteError
from workbench.package_files import BOM, CARD, EVAL_RESULTS, MANIFEST, PROVENANCE, SIGNATURE
from workbench.package_maker import KEY, maker
from workbench.untrusted_json import parse_json, read_bounded

if TYPE_CHECKING:
    from workbench.verify import VerifyRequest

MOST_BYTES = 64 << 20
MOST_REMEMBERED = 4  # manifests: what is made of one is the same whenever it is made
_TAKEN = "it was taken away, or a build judged the artifact anew, and its maker must package it again"
_NOT_PACKAGED = "this artifact was never packaged; complete it with: python -m workbench package FOLDER"


@dataclass(frozen=True)
class Evidence:
    """What was found before.

    Attributes:
        folder: of the package.
        manifest: read and found in agreement with itself.
        sizes: bytes of the plain files that lie there, by name.
        digests: sha256 of those that were read, by name.
    """

    folder: Path
    manifest: Manifest
    sizes: Mapping[str, int]
    digests: Mapping[str, str]

    def read(self, name: str) -> bytes:
        """Bytes of a small file.

        Raises:
            ArtifactError: it is not there, or not small.
        """
        if name not in self.sizes:
            raise ArtifactError(f"there is no {name}")
        return read_bounded(self.folder / name, MOST_BYTES)

    @property
    def other_workbench(self) -> str:
        """Version of the workbench that made the package, where it is not this one."""
        made_by = str(self.manifest.package.get("workbench", "unknown"))
        return "" if made_by == __version__ else ascii(made_by[:40])

    @property
    def other_words(self) -> str:
        """Whose words the card and the bill of materials are, where they are not this workbench's."""
        if self.other_workbench:
            return f"workbench {self.other_workbench}"
        same = self.manifest.package.get(KEY) == maker()
        return "" if same else f"another state of workbench {__version__}, or with libraries of other versions"


def proof_checks(evidence: Evidence, request: VerifyRequest, must_be_package: bool) -> tuple[Check, ...]:
    """Look at what vouches for a package.

    Args:
        evidence: what was found in its folder.
        request: whose signature is expected.
        must_be_package: whether an artifact that was never packaged fails.

    Raises:
        PrerequisiteError, WorkbenchError: a key cannot be used, or a library for it is missing.
    """
    if not evidence.manifest.package:
        return _unpackaged(evidence, request, must_be_package)
    return (
        _guarded("card", _card, evidence),
        _guarded("bom", _bom, evidence),
        _guarded("provenance", _provenance, evidence),
        _signature(evidence, request),
    )


def _unpackaged(evidence: Evidence, request: VerifyRequest, must_be_package: bool) -> tuple[Check, ...]:
    beside = [name for name in (PROVENANCE, SIGNATURE) if name in evidence.sizes]
    status = FAILED if beside or must_be_package else NOT_CHECKED
    detail = f"the manifest says that it was never packaged, but {beside[0]} lies there" if beside else _NOT_PACKAGED
    signed = FAILED if request.public_key or request.identity else status
    return tuple(
        Check(name, signed if name == "signature" else status, detail)
        for name in ("card", "bom", "provenance", "signature")
    )


def _guarded(name: str, look: Callable[[Evidence], Check], evidence: Evidence) -> Check:
    """A check of what may make no sense at all."""
    try:
        return look(evidence)
    except ArtifactError as error:
        return Check(name, FAILED, str(error))


def _described(manifest_bytes: bytes) -> Manifest:
    """The manifest as it was when the files that describe the model were made of it: without them."""
    manifest = manifest_of(json.loads(manifest_bytes))
    package = {key: value for key, value in manifest.package.items() if key != "generated"}
    return dataclasses.replace(manifest, files=model_files(manifest), package=package)


@lru_cache(maxsize=MOST_REMEMBERED)
def _made_words(manifest_bytes: bytes) -> dict[str, bytes]:
    """Card, results and licence, by file name.

    Raises:
        ArtifactError: the manifest holds what none can be made of.
    """
    from workbench.card import card_files
    from workbench.licences import licence_files

    described = _described(manifest_bytes)
    try:
        made = {**card_files(described), **licence_files(described)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"no licence can be told from {MANIFEST} ({type(error).__name__})") from error
    return {name: text.encode("utf-8") for name, text in made.items()}


@lru_cache(maxsize=MOST_REMEMBERED)
def _made_bom(manifest_bytes: bytes) -> bytes:
    from workbench.bom import bom_text

    return bom_text(_described(manifest_bytes)).encode("utf-8")


def _card(evidence: Evidence) -> Check:
    """Card, results and licence: what this version of the workbench writes for these figures."""
    made = _made_words(evidence.read(MANIFEST))
    results = {name for name in evidence.sizes if name.startswith(f"{EVAL_RESULTS}/")}
    names = {*results, *made}
    differing = [name for name in sorted(names) if name not in made or evidence.read(name) != made[name]]
    if not differing:
        return Check("card", PASSED, f"{CARD}, {len(results)} results, licence and notice say what the manifest says")
    if evidence.other_words:
        told = f"made by {evidence.other_words}, whose words are not compared with the manifest's figures"
        return Check("card", NOT_CHECKED, told)
    return Check("card", FAILED, "\n".join(f"{name!a} does not say what the manifest says" for name in differing))


def _bom(evidence: Evidence) -> Check:
    """The bill of materials: CycloneDX's own schema, the manifest's digests, and the same bytes when made again."""
    data = evidence.read(BOM)
    fault = _schema_fault(data)
    if fault:
        return Check("bom", FAILED, f"{BOM} is not valid by CycloneDX's strict schema: {fault}")
    wrong = _wrong_digests(parse_json(data, BOM), evidence.manifest)
    if wrong:
        return Check("bom", FAILED, "\n".join(f"{BOM} does not name {name!a} with its sha256" for name in wrong))
    if data == _made_bom(evidence.read(MANIFEST)):
        return Check("bom", PASSED, "valid by CycloneDX's strict schema, and made again with the same bytes")
    if evidence.other_words:
        told = f"valid, digests as in the manifest; made by {evidence.other_words}, so not compared byte for byte"
        return Check("bom", PASSED, told)
    return Check("bom", FAILED, f"{BOM} is not the one that this workbench makes of the manifest")


@lru_cache(maxsize=16)  # a text is valid or not whenever it is asked
def _schema_fault(data: bytes) -> str:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    record = parse_json(data, BOM)
    version = str(record.get("specVersion", "")) if isinstance(record, dict) else ""
    known = {one.to_version(): one for one in SchemaVersion if one >= SchemaVersion.V1_5}
    if version not in known:
        return f"it is of the version {version[:20]!r}"
    error = JsonStrictValidator(known[version]).validate_str(data.decode("utf-8"))
    return "" if error is None else str(error)[:300].splitlines()[0]


def _wrong_digests(record: Any, manifest: Manifest) -> list[str]:
    """Files of the model that a bill of materials lacks, or names with another sha256 than the manifest."""
    listed = {entry.path: entry.sha256 for entry in model_files(manifest)}
    parts = record.get("metadata", {}).get("component", {}).get("components", [])  # of the schema's types
    named = {one["name"]: _sha256_of(one) for one in parts}
    return sorted(name for name in {*listed, *named} if listed.get(name) != named.get(name))


def _sha256_of(component: dict[str, Any]) -> str | None:
    hashes = component.get("hashes", [])
    return next((one["content"] for one in hashes if one.get("alg") == "SHA-256"), None)


def _provenance(evidence: Evidence) -> Check:
    """The statement, made again of the manifest's bytes."""
    from workbench.provenance import provenance_text

    if PROVENANCE not in evidence.sizes:
        return Check("provenance", FAILED, f"there is no {PROVENANCE}: {_TAKEN}")
    data, manifest = evidence.read(PROVENANCE), evidence.read(MANIFEST)
    if data == provenance_text(manifest).encode("utf-8"):
        told = "in-toto statement of the manifest and every listed file, made again with the same bytes"
        return Check("provenance", PASSED, told)
    if not evidence.other_workbench or not _has_subjects(parse_json(data, PROVENANCE), manifest, evidence.manifest):
        return Check("provenance", FAILED, f"{PROVENANCE} is not the statement that belongs to {MANIFEST}")
    told = f"it names every file with its digest; made by workbench {evidence.other_workbench}, so not made again"
    return Check("provenance", NOT_CHECKED, told)


def _has_subjects(record: Any, manifest_bytes: bytes, manifest: Manifest) -> bool:
    """Whether a statement's subjects are the manifest and the files it lists, by their digests."""
    own = {"name": MANIFEST, "digest": {"sha256": hashlib.sha256(manifest_bytes).hexdigest()}}
    listed = [{"name": entry.path, "digest": {"sha256": entry.sha256}} for entry in manifest.files]
    subjects = record.get("subject") if isinstance(record, dict) else None
    return isinstance(subjects, list) and _ordered(subjects) == _ordered([own, *listed])


def _ordered(values: list[Any]) -> list[str]:
    return sorted(json.dumps(value, sort_keys=True) for value in values)


def _signature(evidence: Evidence, request: VerifyRequest) -> Check:
    """The signature's own check; without one, or without the library and a key, nothing is looked at."""
    from workbench.signing import verify_signature

    wanted = bool(request.public_key or request.identity)
    if SIGNATURE not in evidence.sizes:
        told = "the package is not signed, so nobody vouches for it"
        return Check("signature", FAILED if wanted else NOT_CHECKED, told)
    try:
        return verify_signature(evidence.folder, request.public_key, request.identity, request.issuer, evidence.digests)
    except ArtifactError as error:
        return Check("signature", FAILED, f"it cannot be looked at: {error}")
    except PrerequisiteError as error:
        if wanted:
            raise
        return Check("signature", NOT_CHECKED, str(error))
