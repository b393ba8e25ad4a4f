"""What a model card tells of a package, read from its manifest with every value looked at.

A manifest may come from anybody, so a card is made of typed facts (those of the builds: ``workbench/card_records.py``):
what is no number, no text or too large ends as one ``ArtifactError`` here and nowhere in a template.

    facts = read_facts(manifest)
    facts.reports[0].artifact.sets[0].overall.interval
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from workbench.artifact import Manifest
from workbench.card_records import Conformance, Count, Gate, QuestionSetFacts, Record, ReportFacts, Text
from workbench.errors import ArtifactError
from workbench.hub_layout import HUB_ID
from workbench.plain_text import plain

MOST_REPORTS = 100


class SourceFacts(Record):
    """The checkpoint it was made from."""

    id: Text
    revision: Text | None = None
    digest: Text
    files: tuple[dict[str, Any], ...] = ()

    @property
    def hub_id(self) -> str | None:
        """``OWNER/NAME`` where the checkpoint came from the Hub; a folder is known by its last part alone."""
        return self.id if HUB_ID.fullmatch(self.id) else None


class Licence(Record):
    """Under which licence the source stands, and who is to be named."""

    spdx: Text | None = None
    name: Text | None = None
    link: Text | None = None
    attribution: Text | None = None
    base_model: Text | None = None


class RecipeFacts(Record):
    """The recipe, options completed."""

    description: Text = ""
    runtime: Text = ""
    backends: tuple[Text, ...] = ()
    options: dict[Text, Any] = Field(default_factory=dict)


class CalibrationFacts(Record):
    """The texts that weights were fitted to."""

    source: Text = ""
    texts: Count = 0
    tokens: Count | None = None
    sha256: Text = ""
    texts_sha256: Text = ""


class PackageFacts(Record):
    """Of the package as a whole."""

    workbench: Text = ""
    repository: Text | None = None

    @property
    def hub_id(self) -> str | None:
        """The repository it is meant for, if that is named and may be one."""
        return self.repository if self.repository and HUB_ID.fullmatch(self.repository) else None


class Facts(Record):
    """All that a card tells.

    Attributes:
        name: the recipe's.
        model: short name of the model.
        made_on: the processor that calibrated weights were computed on, whose order of sums shows in their last bits.
        weight_files: names of the files that hold the weights, sorted.
        refuted: whether the accuracy gate said so.
    """

    name: Text
    model: Text
    architecture: Text
    prompt: Text
    format: Text
    weight_files: tuple[Text, ...]
    weight_bytes: Count
    parameters: Count
    bits_per_weight: float
    build_key: Text
    source: SourceFacts
    licence: Licence
    recipe: RecipeFacts
    calibration: CalibrationFacts | None
    made_on: Text | None
    tool_versions: dict[Text, Text]
    conformance: Conformance | None
    gate: Gate
    package: PackageFacts
    reports: tuple[ReportFacts, ...]

    @property
    def refuted(self) -> bool:
        """Whether the accuracy gate refuted it."""
        return self.gate.verdict == "refuted"

    @property
    def question_sets(self) -> list[QuestionSetFacts]:
        """Every set that was asked, once; two of a name that hold other questions are two."""
        return list(dict.fromkeys(one for report in self.reports for one in report.question_sets))

    @property
    def measured(self) -> tuple[ReportFacts, ...]:
        """Reports of profiles that were at hand."""
        return tuple(report for report in self.reports if report.profile_is_here)


_WEIGHTS = (".gguf", ".safetensors", ".onnx", ".onnx_data", ".onnx.data", ".npz")


def read_facts(manifest: Manifest) -> Facts:
    """The facts of a manifest.

    Raises:
        ArtifactError: a value is not what it should be; the message names the first.
    """
    source, results = manifest.source, manifest.results
    try:
        return TypeAdapter(Facts).validate_python(
            {
                **{name: getattr(manifest, name) for name in _SAME},
                "weight_files": tuple(_weights(entry.path for entry in manifest.files)),
                "licence": source.get("licence") or {},
                "calibration": manifest.details.get("calibration"),
                "made_on": manifest.details.get("made_on"),
                "conformance": manifest.conformance or None,
                "gate": manifest.acceptance,
                "reports": results.get("reports", [])[:MOST_REPORTS],
            }
        )
    except (ValidationError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"the manifest of {plain(str(manifest.name))} cannot be made a card of ({_first_fault(error)}); "
            "package the artifact again"
        ) from error


_SAME = (
    "name", "model", "architecture", "prompt", "format", "weight_bytes", "parameters", "bits_per_weight", "build_key",
    "source", "recipe", "tool_versions", "package",
)  # fmt: skip


def _weights(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(_WEIGHTS))


def _first_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_input=False, include_url=False)[0]
        return plain(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
    return "it is no record of the kind"
