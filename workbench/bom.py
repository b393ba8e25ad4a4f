"""The bill of materials of a package: what it consists of and what it came from, in CycloneDX's form.

An ML-BOM (https://cyclonedx.org/capabilities/mlbom) is for machines: scanners that look for licences and known bad
components read it. The model is a component with its files and their digests, its ancestor is the base model, its data
sets are components, the libraries that made it are tools; ``workbench/bom_model_card.py`` adds what was measured.

The text is a function of the manifest: its serial number is derived from the contents, its time is that of the newest
build. So it can be made again with the same bytes.

Example::

    bom_text(open_artifact(Path("artifacts/sqlcoder-nano/int8")).manifest)
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from workbench.artifact import FileEntry, Manifest, model_files
from workbench.bom_model_card import model_card
from workbench.errors import ArtifactError
from workbench.package_files import PROVENANCE, SIGNATURE
from workbench.purls import base_model_purl, library_purl

if TYPE_CHECKING:
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

MODEL = "model"
BASE = "base-model"
OURS = "sqlcoder-workbench"  # namespace of our properties
VALUES = f"{OURS}:canonicalJsonSha256"  # see docs/provenance.md
UNNAMED = "NOASSERTION"


def bom_text(manifest: Manifest) -> str:
    """The bill as JSON, keys sorted, valid by CycloneDX's strict schema 1.6.

    Raises:
        ArtifactError: the manifest's fields are not what they should be.
    """
    from cyclonedx.exception import CycloneDxException
    from cyclonedx.output.json import JsonV1Dot6

    try:
        data = _data(manifest)
        record = json.loads(JsonV1Dot6(_bom(manifest, data)).output_as_string())
        record["metadata"]["component"]["modelCard"] = model_card(manifest, {one.name: _ref(one) for one in data})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, CycloneDxException) as error:
        raise ArtifactError(
            f"no bill of materials can be made of the manifest ({type(error).__name__}); package the artifact again"
        ) from error
    for component in record.get("components", ()):
        component["data"] = [{"type": "dataset", "name": component["name"]}]
    if not manifest.package.get("made_at"):
        del record["metadata"]["timestamp"]
    del record["serialNumber"]
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    record["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, text).urn
    return json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _bom(manifest: Manifest, data: list[Component]) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData

    model = _model(manifest)
    made_at = manifest.package.get("made_at")
    metadata = BomMetaData(component=model, timestamp=datetime.datetime.fromisoformat(made_at) if made_at else None)
    metadata.tools.components.update(_tool(name, version) for name, version in manifest.tool_versions.items())
    bom = Bom(metadata=metadata, components=data)
    bom.register_dependency(model, data)
    return bom


def _model(manifest: Manifest) -> Component:
    from cyclonedx.model.component import Component, ComponentType, Pedigree

    return Component(
        name=f"{manifest.model}-{manifest.name}",
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        version=manifest.build_key[:16],
        description=manifest.recipe.get("description"),
        licenses=_licences(manifest),
        copyright=_licence(manifest).get("attribution") or None,
        pedigree=Pedigree(ancestors=[_base(manifest)], notes=f"converted by the recipe {manifest.name}"),
        components=[_file(entry) for entry in model_files(manifest)],
        properties=_properties(
            {
                "buildKey": manifest.build_key,
                "format": manifest.format,
                "parameters": manifest.parameters,
                "weightBytes": manifest.weight_bytes,
                "bitsPerWeight": manifest.bits_per_weight,
                "recipe": json.dumps(manifest.recipe, sort_keys=True),
            }
        ),
        external_references=_references(),
    )


def _references() -> list[Any]:
    """What else in the package vouches for the model."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri

    return [
        ExternalReference(type=ExternalReferenceType.ATTESTATION, url=XsUri(PROVENANCE), comment="SLSA provenance"),
        ExternalReference(type=ExternalReferenceType.DIGITAL_SIGNATURE, url=XsUri(SIGNATURE), comment="where signed"),
    ]


def _base(manifest: Manifest) -> Component:
    """The checkpoint that was converted, with the digests of its files."""
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    source = manifest.source
    purl = base_model_purl(source)
    files = [FileEntry(one["path"], one["bytes"], one["sha256"]) for one in source.get("files", ())]
    return Component(
        name=str(source["id"]),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=BASE,
        version=source.get("revision"),
        purl=PackageURL.from_string(purl) if purl else None,
        licenses=_licences(manifest),
        components=[_file(entry, f"{BASE}/") for entry in files],
        properties=_properties({"workbenchCheckpointSha256": source["digest"]}),
    )


def _file(entry: FileEntry, prefix: str = f"{MODEL}/") -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=entry.path,
        type=ComponentType.FILE,
        bom_ref=f"{prefix}{entry.path}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)],
        properties=_properties({"bytes": entry.bytes}),
    )


def _data(manifest: Manifest) -> list[Component]:
    """Calibration texts and question sets."""
    sets = {
        (f"questions: {one['name']}", one["digest"], f"{one['questions']} questions with their right answers")
        for report in manifest.results.get("reports", ())
        for one in report["question_sets"]
    }
    found = [_data_set(*one) for one in sorted(sets)]
    if calibration := manifest.details.get("calibration"):
        name = f"calibration: {calibration.get('source', 'bundled')}"
        digest = calibration.get("texts_sha256") or calibration["sha256"]
        found.append(_data_set(name, digest, f"{calibration.get('texts', '?')} texts the recipe was calibrated on"))
    return found


def _data_set(name: str, digest: str, description: str) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=name,
        type=ComponentType.DATA,
        bom_ref=f"data/{name}/{digest[:16]}",
        description=description,
        properties=[Property(name=VALUES, value=digest)],
    )


def _ref(component: Component) -> str:
    return str(component.bom_ref.value)


def _tool(name: str, version: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    known = OURS if name == "workbench" else name
    return Component(
        name=known,
        type=ComponentType.APPLICATION if known == OURS else ComponentType.LIBRARY,
        bom_ref=f"tool/{known}",
        version=version,
        purl=PackageURL.from_string(library_purl(known, version)),
    )


def _licence(manifest: Manifest) -> Mapping[str, Any]:
    found: Mapping[str, Any] = manifest.source.get("licence") or {}
    return found


def _licences(manifest: Manifest) -> list[License]:
    """The licence, by its SPDX id where it has one; what is not known is left out."""
    from cyclonedx.model import XsUri
    from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
    from cyclonedx.spdx import is_supported_id

    licence = _licence(manifest)
    if licence.get("spdx", UNNAMED) == UNNAMED:
        return []
    url = XsUri(licence["link"]) if licence.get("link") else None
    by_id = {"id": licence["spdx"]} if is_supported_id(licence["spdx"]) else {"name": licence["name"]}
    return [DisjunctiveLicense(**by_id, url=url, acknowledgement=LicenseAcknowledgement.DECLARED)]


def _properties(values: Mapping[str, Any]) -> Iterable[Property]:
    from cyclonedx.model import Property

    return [Property(name=f"{OURS}:{name}", value=str(value)) for name, value in values.items()]
