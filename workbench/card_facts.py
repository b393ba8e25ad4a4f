"""What a model card tells of a package, read from its manifest with every value looked at.

A manifest may come from anybody, so a card is made of typed facts: what is no number, no text or too long ends as one
``ArtifactError`` here and nowhere in a template. Text is made plain on the way in: one line, no control or direction
characters, no path of the machine a package was made on.

    facts = read_facts(manifest)
    facts.reports[0].artifact.sets[0].overall.interval
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from workbench.artifact import Manifest
from workbench.errors import ArtifactError
from workbench.measure import Measurement, Score
from workbench.report import MAIN_SCORE, REFUSALS

MOST_CHARACTERS = 600  # of one text; the longest sentence the workbench writes has about 400
MOST_REPORTS = 100
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# Of a path that begins at a root, a home or a drive: everything but the last part.
_FOLDERS = re.compile(r"(?<![\w:/.~])(?:file:/*|~|[A-Za-z]:)?[/\\](?:[^/\\\s'\"]+[/\\])+(?=[^/\\\s'\"])")


def plain(text: str) -> str:
    """A text as one line without control, format and surrogate characters, without folders of a machine, not endless.

    Example::

        plain("a\\n| b, of /home/me/model.gguf")  # "a | b, of model.gguf"
    """
    spaced = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    kept = "".join(one for one in spaced if unicodedata.category(one) not in ("Cf", "Cs", "Co"))
    line = _FOLDERS.sub("", " ".join(kept.split()))
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_plain)]
Count = Annotated[int, Field(ge=0, le=10**15)]  # what is larger is no count, and too large for a float


def _counted(score: Score) -> Score:
    """A proportion, as one is."""
    if not 0 <= score.correct <= score.total <= 10**15:
        raise ValueError(f"{score.correct} of {score.total} is no proportion")
    return score


class _Record(BaseModel):
    """JSON values as a manifest holds them; what a card does not tell is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Mean(_Record):
    """A mean and its standard error, if known."""

    value: float
    se: float | None = None


class Flips(_Record):
    """Answers lost and gained against the reference, see ``workbench/report.py``."""

    questions: Count
    right_to_wrong: Count
    wrong_to_right: Count
    mcnemar_p: float
    difference: float
    interval: tuple[float, float]
    detectable: float | None = None
    method: Text = ""


class SetFacts(_Record):
    """How the artifact did on one question set."""

    question_set: Text
    scores: tuple[Annotated[Score, AfterValidator(_counted)], ...]
    flips: Flips | None = None

    @property
    def overall(self) -> Score | None:
        """The headline figure; the refusals of a set in which nothing can be answered; ``None`` of an empty one."""
        asked = [score for score in self.scores if score.total]
        main = [score for score in asked if score.name == MAIN_SCORE]
        return next(iter(main or [score for score in asked if score.name == REFUSALS]), None)

    def group(self, kind: str) -> dict[str, Score]:
        """Scores by ``category`` or ``hardness``."""
        prefix = f"{MAIN_SCORE}/{kind}/"
        return {plain(one.name.removeprefix(prefix)): one for one in self.scores if one.name.startswith(prefix)}


class QuestionSetFacts(_Record):
    """A question set that was asked."""

    name: Text
    questions: Count
    digest: Text
    source: Text = ""

    @property
    def bundled(self) -> bool:
        """Whether the workbench brings it."""
        return self.source == "bundled"


class Part(_Record):
    """Divergence over one part of the texts."""

    questions: Count
    tokens: Count
    kl_nats: Mean
    same_top: Mean
    kl_nats_p99: float | None = None
    perplexity: float | None = None
    reference_perplexity: float | None = None


class Divergence(_Record):
    """How far next-token distributions lie from the reference's, see ``workbench/divergences.py``."""

    reference: Text = ""
    answers: Part | None = None
    prompts: Part | None = None


class Gate(_Record):
    """What the recipe's accuracy gate said, see ``workbench/acceptance.py``."""

    verdict: Text = ""
    reason: Text = ""
    loss_max_points: float | None = None
    confidence: float | None = None
    questions: Count = 0
    questions_needed: Count | None = None


class _Tokenizer(_Record):
    texts: Count
    equal: Count


class _Logits(_Record):
    relative_error: float
    tolerance: float


class _Greedy(_Record):
    tokens: Count
    equal: Count


class Kernel(_Record):
    """A server's kernel and whether it takes the package."""

    kernel: Text
    loads: bool
    reason: Text = ""
    source: Text = ""


class Conformance(_Record):
    """How the package's engine computes beside the source, see ``workbench/conformance.py``."""

    passed: bool
    engine: Text
    tokenizer: _Tokenizer
    logits: _Logits
    greedy: _Greedy
    kernels: tuple[Kernel, ...] = ()


class Reference(_Record):
    """What answers are compared with."""

    name: Text = ""
    kind: Text = ""
    digest: Text = ""


class Noise(_Record):
    """What differs between two runs of the reference."""

    artifact: Text = ""
    question_set: Text = ""
    questions: Count = 0
    texts_differing: Count = 0
    right_to_wrong: Count = 0
    wrong_to_right: Count = 0


class Fit(_Record):
    """What the plan said of the recipe on the profile."""

    fits: bool | None = None
    reason: Text = ""
    largest_context: Count | None = None


class ArtifactFacts(_Record):
    """What one report says of the artifact."""

    runtime: Text = ""
    device: Text = ""
    measurements: tuple[Measurement, ...] = ()
    predictions: tuple[Measurement, ...] = ()
    sets: tuple[SetFacts, ...] = ()
    notes: tuple[Text, ...] = ()
    divergence: Divergence = Divergence()
    error: Text | None = None


class ReportFacts(_Record):
    """One build: a profile, the machine that built, the conditions."""

    profile: Text
    profile_is_here: bool
    machine: Text = ""
    made_at: Text = ""
    context: Count
    beams: Count = 1
    prompt: Text = ""
    reference: Reference = Reference()
    noise: Noise = Noise()
    question_sets: tuple[QuestionSetFacts, ...] = ()
    tool_versions: dict[Text, Text] = {}
    recommended: bool = False
    reason: Text = ""
    plan: Fit = Fit()
    artifact: ArtifactFacts


class SourceFacts(_Record):
    """The checkpoint it was made from."""

    id: Text
    revision: Text | None = None
    digest: Text
    files: tuple[dict[str, Any], ...] = ()

    @property
    def hub_id(self) -> str | None:
        """``OWNER/NAME`` where the checkpoint came from the Hub; a folder is known by its last part alone."""
        return self.id if HUB_ID.fullmatch(self.id) else None


class Licence(_Record):
    """Under which licence the source stands, and who is to be named."""

    spdx: Text | None = None
    name: Text | None = None
    link: Text | None = None
    attribution: Text | None = None
    base_model: Text | None = None


class RecipeFacts(_Record):
    """The recipe, options completed."""

    description: Text = ""
    runtime: Text = ""
    backends: tuple[Text, ...] = ()
    options: dict[Text, Any] = {}


class CalibrationFacts(_Record):
    """The texts that weights were fitted to."""

    source: Text = ""
    texts: Count = 0
    tokens: Count | None = None
    sha256: Text = ""
    texts_sha256: Text = ""


class PackageFacts(_Record):
    """Of the package as a whole."""

    workbench: Text = ""
    repository: Text | None = None

    @property
    def hub_id(self) -> str | None:
        """The repository it is meant for, if that is named and may be one."""
        return self.repository if self.repository and HUB_ID.fullmatch(self.repository) else None


class Facts(_Record):
    """All that a card tells.

    Attributes:
        name: the recipe's.
        model: short name of the model.
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
    def question_sets(self) -> dict[str, QuestionSetFacts]:
        """Every set that was asked, by name, as the first report that names it tells it."""
        found: dict[str, QuestionSetFacts] = {}
        for report in self.reports:
            for one in report.question_sets:
                found.setdefault(one.name, one)
        return found

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
