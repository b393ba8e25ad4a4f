"""The provenance of a package: one statement of what was made, from what, by what, in which way.

An in-toto statement (https://in-toto.io/Statement/v1) names its subjects by digest and says one thing of them, the
predicate. Here the subjects are the manifest and every file it lists; the predicate is SLSA's provenance
(https://slsa.dev/provenance/v1): what was asked for (model, revision, recipe), what it was made from (the source's
files and the data it was calibrated on), by which tool, in which run. ``docs/provenance.md`` tells what each field
holds.

The text is a function of the manifest's bytes alone. Who has a manifest makes the statement again and compares the
bytes: so the statement vouches for the manifest, and is itself checked, before any signature is looked at.

Example::

    provenance_text(Path("manifest.json").read_bytes())
"""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import TYPE_CHECKING, Any

from workbench.artifact import Manifest, manifest_of
from workbench.errors import ArtifactError
from workbench.package_files import MANIFEST
from workbench.purls import base_model_purl, file_purl, library_purl

if TYPE_CHECKING:
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor  # type: ignore[import-untyped]

BUILD_TYPE = "pkg:pypi/sqlcoder-workbench#docs/provenance.md"
BUILDER = "pkg:pypi/sqlcoder-workbench"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
VALUES = "canonicalJsonSha256"  # of values, not of a file's bytes; see docs/provenance.md
TENSORS = "workbenchCheckpointSha256"
_EXACT = 2**53  # below, a float holds every whole number


def provenance_text(manifest_bytes: bytes) -> str:
    """The statement as canonical JSON: keys sorted, indented by two spaces, a line's end at the end.

    Args:
        manifest_bytes: of ``manifest.json``, as they lie on disk.

    Raises:
        ArtifactError: they are no manifest, or one whose fields are not what they should be.
    """
    from google.protobuf.json_format import Error, MessageToDict  # type: ignore[import-untyped]
    from in_toto_attestation.v1.statement import Statement  # type: ignore[import-untyped]

    try:
        manifest = manifest_of(json.loads(manifest_bytes))
        statement = Statement(_subjects(manifest_bytes, manifest), PREDICATE_TYPE, _predicate(manifest))
        statement.validate()
        record = MessageToDict(statement.pb)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Error) as error:
        raise ArtifactError(
            f"no provenance can be told from {MANIFEST} ({type(error).__name__}); package the artifact again"
        ) from error
    return json.dumps(_whole(record), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _whole(value: Any) -> Any:
    """Whole numbers as they were: the message holds every number as a float."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _subjects(manifest_bytes: bytes, manifest: Manifest) -> list[Any]:
    own = hashlib.sha256(manifest_bytes).hexdigest()
    listed = [(entry.path, entry.sha256) for entry in manifest.files]
    return [_resource(name, {"sha256": digest}).pb for name, digest in [(MANIFEST, own), *listed]]


def _resource(name: str, digest: dict[str, str], uri: str = "") -> ResourceDescriptor:
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor

    return ResourceDescriptor(name=name, digest=digest, uri=uri)


def _predicate(manifest: Manifest) -> dict[str, Any]:
    """SLSA's provenance; built as its own message, so that a field it does not have is an error."""
    from google.protobuf.json_format import MessageToDict
    from in_toto_attestation.predicates.provenance.v1 import (  # type: ignore[import-untyped]
        provenance_pb2 as slsa,
    )

    provenance: Any = slsa.Provenance()
    definition, run = provenance.build_definition, provenance.run_details
    definition.build_type = BUILD_TYPE
    definition.external_parameters.update(_asked(manifest))
    definition.internal_parameters.update(_settled(manifest))
    definition.resolved_dependencies.extend(one.pb for one in _materials(manifest))
    run.builder.id = BUILDER
    run.builder.version.update({"workbench": manifest.tool_versions.get("workbench", "unknown")})
    run.builder.builder_dependencies.extend(
        _resource(name, {}, library_purl(name, version)).pb
        for name, version in sorted(manifest.tool_versions.items())
        if name != "workbench"
    )
    run.metadata.invocation_id = manifest.build_key
    if made_at := manifest.package.get("made_at"):
        run.metadata.finished_on.FromDatetime(datetime.datetime.fromisoformat(made_at))
    record: dict[str, Any] = MessageToDict(provenance)
    return record


def _asked(manifest: Manifest) -> dict[str, Any]:
    """What a user asked for: who asks for the same gets the same."""
    calibration = manifest.details.get("calibration", {}).get("source")
    asked = {
        "model": manifest.source["id"],
        "revision": manifest.source.get("revision"),
        "recipe": manifest.recipe,
        "prompt": manifest.prompt,
    }
    return {**asked, "calibration": calibration} if calibration else asked


def _settled(manifest: Manifest) -> dict[str, Any]:
    """What the workbench made of it."""
    return {
        "format": manifest.format,
        "architecture": manifest.architecture,
        "parameters": manifest.parameters,
        "sourceDigest": manifest.source["digest"],
    }


def _materials(manifest: Manifest) -> list[ResourceDescriptor]:
    """The source, file by file where that is known, and the data the artifact was made and scored with."""
    source = manifest.source
    found = [_resource(source["id"], {TENSORS: source["digest"]}, base_model_purl(source))]
    for file in source.get("files", ()):
        found.append(
            _resource(f"{source['id']}/{file['path']}", {"sha256": file["sha256"]}, file_purl(source, file["path"]))
        )
    calibration = manifest.details.get("calibration")
    if calibration:
        key = "texts_sha256" if "texts_sha256" in calibration else "sha256"
        found.append(_resource(f"calibration: {calibration.get('source', 'bundled')}", {VALUES: calibration[key]}))
    sets = {
        (one["name"], one["digest"])
        for report in manifest.results.get("reports", ())
        for one in report["question_sets"]
    }
    return [*found, *(_resource(f"questions: {name}", {VALUES: digest}) for name, digest in sorted(sets))]
