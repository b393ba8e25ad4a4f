"""The model card of a package, and what the Hub reads beside it: made of the manifest alone, always the same bytes.

A card says what the package is, for which hardware, how it was made, what was measured and what is only predicted,
how sure the accuracy is and what it lost, what is not known, how it is served and how it is checked. It shows what the
manifest holds and says where it holds nothing; the clock and this machine have no part in it.

    files = card_files(manifest)     # README.md and .eval_results/<question set>.yaml
    text = repository_card([q4, q8]) # README.md of a repository that several GGUF packages share
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.artifact import Manifest
from workbench.card_facts import Facts, read_facts
from workbench.card_making import (
    calibration_text,
    conformance_text,
    gate_text,
    identity_table,
    kernel_table,
    licence_text,
    options_table,
    source_text,
)
from workbench.card_markdown import Markdown, markdown_table, render
from workbench.card_metadata import eval_results_files, front_matter
from workbench.card_results import (
    Scoring,
    accuracy_table,
    detectable_text,
    divergence_table,
    group_table,
    hardware_table,
    measured_table,
    noise_floor_text,
    notes,
    predicted_table,
    scorings,
)
from workbench.card_usage import HUB_NAME, choose, commands, example_variant
from workbench.card_variants import variant_table, which_to_choose
from workbench.errors import ArtifactError
from workbench.nano import MODEL_NAME
from workbench.package_files import CARD


def card_files(manifest: Manifest) -> dict[str, str]:
    """The card and the Hub's evaluation results of a package, by file name.

    Raises:
        ArtifactError: the manifest holds something else than a card can be made of.
    """
    facts = read_facts(manifest)
    return {CARD: _package_card(facts), **eval_results_files(facts)}


def repository_card(manifests: Sequence[Manifest], repository: str | None = None) -> str:
    """The card of a repository that several packages of one model share, one row each.

    Args:
        manifests: of the packages, in any order.
        repository: ``OWNER/NAME`` for the commands that are shown; ``None`` means what the manifests say.

    Raises:
        ArtifactError: a manifest holds something else than a card can be made of, or they are of different models.
        ValueError: there is no package.
    """
    if not manifests:
        raise ValueError("a repository without packages has no card")
    facts = sorted((_placed(one, repository) for one in manifests), key=lambda one: (-one.weight_bytes, one.name))
    sources = sorted({one.source.id for one in facts})
    if len(sources) > 1:
        raise ArtifactError(
            f"one card cannot speak of packages made from {' and '.join(sources)}; give each model its own repository"
        )
    first, example = facts[0], example_variant(facts)
    return render(
        "card_repository.md.j2",
        front_matter=front_matter(facts, _repository_name(first) or first.model),
        facts=first,
        variants=facts,
        table=markdown_table(variant_table(facts)),
        choice=which_to_choose(facts),
        example=example,
        commands=commands(example) if example else [],
        where=first.package.hub_id or HUB_NAME,
        choose=Markdown(" --recipe RECIPE"),
        **_shared(facts),
    )


def _placed(manifest: Manifest, repository: str | None) -> Facts:
    """The facts of a package in this repository."""
    facts = read_facts(manifest)
    if repository is None:
        return facts
    return facts.model_copy(update={"package": facts.package.model_copy(update={"repository": repository})})


def _package_card(facts: Facts) -> str:
    return render(
        "card.md.j2",
        front_matter=front_matter([facts], _repository_name(facts) or f"{facts.model} {facts.name}"),
        facts=facts,
        identity=markdown_table(identity_table(facts)),
        hardware=markdown_table(hardware_table(facts)),
        scorings=[_scoring_section(facts, scoring) for scoring in scorings(facts)],
        divergence=markdown_table(divergence_table(facts)),
        conformance=conformance_text(facts),
        kernels=markdown_table(kernel_table(facts)),
        measured=markdown_table(measured_table(facts)),
        predicted=markdown_table(predicted_table(facts)),
        options=markdown_table(options_table(facts)),
        calibration=calibration_text(facts),
        gate=gate_text(facts),
        commands=commands(facts),
        notes=notes(facts),
        where=facts.package.hub_id or HUB_NAME,
        choose=choose(facts),
        **_shared([facts]),
    )


def _repository_name(facts: Facts) -> str | None:
    return facts.package.hub_id.split("/")[1] if facts.package.hub_id else None


def _shared(facts: Sequence[Facts]) -> dict[str, Any]:
    """What both kinds of cards show, of packages of one model."""
    sets = list(dict.fromkeys(one for package in facts for one in package.question_sets))
    return {
        "source": source_text(facts[0]),
        "licence": licence_text(facts[0]),
        "question_sets": sets,
        "bundled_questions": any(one.bundled for one in sets),
        "is_bundled_model": facts[0].source.id == MODEL_NAME,
        "elsewhere": any(not report.profile_is_here for one in facts for report in one.reports),
    }


def _scoring_section(facts: Facts, scoring: Scoring) -> dict[str, Any]:
    return {
        "conditions": scoring.conditions(),
        "reference": scoring.report.reference.name,
        "is_reference": scoring.report.reference.digest == facts.build_key,
        "accuracy": markdown_table(accuracy_table(scoring.sets)),
        "groups": [markdown_table(group_table(scoring.sets, kind)) for kind in ("category", "hardness")],
        "remarks": " ".join(filter(None, [detectable_text(scoring.sets), noise_floor_text(scoring)])),
    }
