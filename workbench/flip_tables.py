"""Tables of what changed against the reference: in all, by group, question by question, and what the gates say of it.

A net loss of two points can be two answers lost, or ten lost and eight gained: flips are shown both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.report import ArtifactReport, BuildReport
from workbench.tables import DASH, Table

MOST_QUESTIONS = 60  # flipped questions on a page; report.json has all


def difference_table(report: BuildReport, question_set: str) -> Table:
    """One row per artifact: flips both ways, p, difference with its interval, and what could have been shown."""
    rows = tuple(
        (
            artifact.recipe,
            str(flips["questions"]),
            str(flips["right_to_wrong"]),
            str(flips["wrong_to_right"]),
            f"{flips['mcnemar_p']:.3g}",
            f"{100 * flips['difference']:+.1f} [{100 * flips['interval'][0]:+.1f}, {100 * flips['interval'][1]:+.1f}]",
            f"{100 * flips['detectable']:.1f}",
        )
        for artifact, flips in _compared(report, question_set)
    )
    header = ("recipe", "questions", "right to wrong", "wrong to right", "p", "difference in points", "could show")
    return Table(header, rows)


def group_table(report: BuildReport, question_set: str, kind: str) -> Table:
    """Flips of each artifact by ``category`` or ``hardness``: ``-2 +1``; a dash where nothing flipped."""
    compared = _compared(report, question_set)
    prefix = f"{kind}/"
    names = [name for name in (compared[0][1]["groups"] if compared else {}) if name.startswith(prefix)]
    rows = []
    for name in names:
        groups = [flips["groups"][name] for _, flips in compared]
        cells = [f"-{one['right_to_wrong']} +{one['wrong_to_right']}".replace("-0 +0", DASH) for one in groups]
        rows.append((name.removeprefix(prefix), str(groups[0]["questions"]), *cells))
    return Table((kind, "questions", *(artifact.recipe for artifact, _ in compared)), tuple(rows))


def flipped_table(report: BuildReport, question_set: str) -> Table:
    """The questions any artifact flipped, with what became of each; a dash where it answered as the reference did."""
    compared = [(artifact.recipe, flips) for artifact, flips in _compared(report, question_set) if flips["flipped"]]
    of_reference: dict[str, str] = {}
    of_variant: dict[str, dict[str, str]] = {}
    for recipe, flips in compared:
        for one in flips["flipped"]:
            of_reference[one["question_id"]] = one["reference"]
            of_variant.setdefault(one["question_id"], {})[recipe] = one["variant"]
    rows = [
        (name, of_reference[name], *(of_variant[name].get(recipe, DASH) for recipe, _ in compared))
        for name in sorted(of_reference, key=lambda name: (len(name), name))
    ]
    return Table(("question", "reference", *(recipe for recipe, _ in compared)), tuple(rows[:MOST_QUESTIONS]))


def acceptance_table(report: BuildReport) -> Table:
    """What each gate asked and answered."""
    rows = tuple(
        (
            artifact.recipe,
            f"{record['loss_max_points']:g} points, {100 * record['confidence']:g}%",
            record["verdict"],
            record["reason"],
        )
        for artifact in report.artifacts
        if (record := artifact.acceptance)
    )
    return Table(("recipe", "accepts a loss of", "verdict", "why"), rows)


def noise_text(noise: Mapping[str, Any]) -> str:
    """``Noise floor: ...``, what flips between two runs of the same weights; empty where that is not known."""
    if not noise:
        return ""
    flipped = noise["right_to_wrong"] + noise["wrong_to_right"]
    return (
        f"Noise floor: {noise['artifact']} run twice, {flipped} of {noise['questions']} answers to "
        f"{noise['question_set']} flipped, {noise['texts_differing']} texts differed."
    )


def _compared(report: BuildReport, question_set: str) -> list[tuple[ArtifactReport, dict[str, Any]]]:
    return [
        (artifact, one.flips)
        for artifact in report.artifacts
        for one in artifact.sets
        if one.question_set == question_set and one.flips
    ]
