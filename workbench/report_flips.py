"""The questions that flipped, for the report's page: question, gold, and both answers side by side.

One entry a question, whichever artifacts flipped it; artifacts that gave the same answer stand together. What differs
between the reference's SQL and theirs is marked word by word (``workbench/word_diff.py``).

    shown, left_out = flip_entries(report, "heldout")
    shown[0].answers[0].recipes, shown[0].answers[0].own
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.chart_parts import scored
from workbench.report import BuildReport
from workbench.word_diff import Segments, word_diff

MOST_ANSWERS = 1200  # on the page, of all question sets together; report.json has all


@dataclass(frozen=True)
class FlippedAnswer:
    """One answer to a question, of one artifact or of several that gave the same.

    Attributes:
        recipes: whose.
        gained: whether the reference was wrong and this is right.
        verdict: on it.
        reason: of the verdict.
        before: the reference's SQL, what this one lacks marked.
        own: its SQL, what the reference's lacks marked.
    """

    recipes: tuple[str, ...]
    gained: bool
    verdict: str
    reason: str
    before: Segments
    own: Segments


@dataclass(frozen=True)
class FlippedQuestion:
    """A question with what the reference and those that flipped it said.

    Attributes:
        name: its id.
        asked: as ``workbench/flipped.py`` tells it: question, database, gold, and the reference's answer.
        answers: of the artifacts that flipped it.
    """

    name: str
    asked: Mapping[str, Any]
    answers: tuple[FlippedAnswer, ...]

    @property
    def lost(self) -> int:
        """Artifacts that lost it."""
        return sum(len(one.recipes) for one in self.answers if not one.gained)

    @property
    def gained(self) -> int:
        """Artifacts that gained it."""
        return sum(len(one.recipes) for one in self.answers if one.gained)


def flip_entries(report: BuildReport, question_set: str) -> tuple[list[FlippedQuestion], int]:
    """The flipped questions of a set, those that most artifacts flipped first, and how many are left out."""
    told = report.flipped.get(question_set, {})
    alike: dict[str, dict[tuple[str, str, str], list[str]]] = {}
    for artifact, one in scored(report, question_set):
        for flip in (one.flips or {}).get("flipped", ()):
            answer = (flip["variant"], flip.get("reason", ""), flip.get("sql", ""))
            alike.setdefault(flip["question_id"], {}).setdefault(answer, []).append(artifact.recipe)
    order = sorted(alike, key=lambda name: (-sum(map(len, alike[name].values())), len(name), name))
    shown: list[FlippedQuestion] = []
    answers, most = 0, MOST_ANSWERS // max(1, len(report.question_sets))
    for name in order:
        answers += len(alike[name])
        if answers > most:
            break
        shown.append(FlippedQuestion(name, told.get(name, {}), _answers(told.get(name, {}), alike[name])))
    return shown, len(order) - len(shown)


def _answers(asked: Mapping[str, Any], alike: Mapping[tuple[str, str, str], list[str]]) -> tuple[FlippedAnswer, ...]:
    found = []
    for (verdict, reason, sql), recipes in alike.items():
        before, own = word_diff(asked.get("sql", ""), sql)
        found.append(FlippedAnswer(tuple(recipes), verdict == "correct", verdict, reason, before, own))
    return tuple(found)
