"""The results within a manifest as typed records, every value looked at: what a model card tells of each build.

They mirror ``workbench/package_results.py``. A manifest may come from anybody: what is no number, no count or no text
is a ``ValidationError`` of pydantic, which ``card_facts`` makes one sentence of; text is made plain on the way in.

    TypeAdapter(ReportFacts).validate_python(record).artifact.sets[0].overall.interval
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from workbench.measure import Measurement, Score
from workbench.plain_text import plain
from workbench.report import MAIN_SCORE, REFUSALS


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_plain)]
Count = Annotated[int, Field(ge=0, le=10**15)]  # what is larger is no count, and too large for a float


def _counted(score: Score) -> Score:
    """A proportion, as one is."""
    if not 0 <= score.correct <= score.total <= 10**15:
        raise ValueError(f"{score.correct} of {score.total} is no proportion")
    return score


class Record(BaseModel):
    """JSON values as a manifest holds them; what a card does not tell is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Mean(Record):
    """A mean and its standard error, if known."""

    value: float
    se: float | None = None


class Flips(Record):
    """Answers lost and gained against the reference, see ``workbench/report.py``."""

    questions: Count
    right_to_wrong: Count
    wrong_to_right: Count
    mcnemar_p: float
    difference: float
    interval: tuple[float, float]
    detectable: float | None = None
    method: Text = ""


class SetFacts(Record):
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


class QuestionSetFacts(Record):
    """A question set that was asked."""

    name: Text
    questions: Count
    digest: Text
    source: Text = ""

    @property
    def bundled(self) -> bool:
        """Whether the workbench brings it."""
        return self.source == "bundled"


class Part(Record):
    """Divergence over one part of the texts."""

    questions: Count
    tokens: Count
    kl_nats: Mean
    same_top: Mean
    kl_nats_p99: float | None = None
    perplexity: float | None = None
    reference_perplexity: float | None = None


class Divergence(Record):
    """How far next-token distributions lie from the reference's, see ``workbench/divergences.py``."""

    reference: Text = ""
    answers: Part | None = None
    prompts: Part | None = None


class Gate(Record):
    """What the recipe's accuracy gate said, see ``workbench/acceptance.py``."""

    verdict: Text = ""
    reason: Text = ""
    loss_max_points: float | None = None
    confidence: float | None = None
    questions: Count = 0
    questions_needed: Count | None = None


class _Tokenizer(Record):
    texts: Count
    equal: Count


class _Logits(Record):
    relative_error: float
    tolerance: float


class _Greedy(Record):
    tokens: Count
    equal: Count


class Kernel(Record):
    """A server's kernel and whether it takes the package."""

    kernel: Text
    loads: bool
    reason: Text = ""
    source: Text = ""


class Conformance(Record):
    """How the package's engine computes beside the source, see ``workbench/conformance.py``."""

    passed: bool
    engine: Text
    tokenizer: _Tokenizer
    logits: _Logits
    greedy: _Greedy
    kernels: tuple[Kernel, ...] = ()


class Reference(Record):
    """What answers are compared with."""

    name: Text = ""
    kind: Text = ""
    digest: Text = ""


class Noise(Record):
    """What differs between two runs of the reference."""

    artifact: Text = ""
    question_set: Text = ""
    questions: Count = 0
    texts_differing: Count = 0
    right_to_wrong: Count = 0
    wrong_to_right: Count = 0


class Fit(Record):
    """What the plan said of the recipe on the profile."""

    fits: bool | None = None
    reason: Text = ""
    largest_context: Count | None = None


class ArtifactFacts(Record):
    """What one report says of the artifact."""

    runtime: Text = ""
    device: Text = ""
    measurements: tuple[Measurement, ...] = ()
    predictions: tuple[Measurement, ...] = ()
    sets: tuple[SetFacts, ...] = ()
    notes: tuple[Text, ...] = ()
    divergence: Divergence = Divergence()
    error: Text | None = None


class ReportFacts(Record):
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
