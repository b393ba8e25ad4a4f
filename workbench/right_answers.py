"""Seconds and joules per correct answer: speed and accuracy in one figure.

An artifact that answers twice as fast and half as often right is no faster for the one who needs right answers. When
each answer is right with probability p and a wrong one is asked again, a right one takes 1/p answers in the mean (the
geometric distribution); so the cost of a right answer is that of an answer over p. Its interval is Wilson's of p.

How often an artifact is right, the reports of builds tell that scored the very same artifact, or an evaluation::

    >>> per_correct(0.5, Score("sql_accuracy", 80, 100))
    CostPerCorrect(value=0.625, low=0.5763..., high=0.7033...)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Artifact
from workbench.errors import WorkbenchError
from workbench.measure import Score
from workbench.report import read_report


@dataclass(frozen=True)
class CostPerCorrect:
    """Seconds or joules per correct answer with the 95% interval that the number of questions leaves it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RightShare:
    """How often an artifact is right.

    Attributes:
        score: of the overall figure.
        question_set: it was asked.
        source: the report or evaluation that says so.
    """

    score: Score
    question_set: str
    source: str


def known_share(artifact: Artifact) -> RightShare | None:
    """What the newest report beside an artifact says of it; ``None`` where none scored this very artifact."""
    reports = (artifact.path.parent / "reports").glob("*/report.json")
    for path in sorted(reports, key=lambda file: file.stat().st_mtime, reverse=True):
        share = _share_in(path, artifact.manifest.build_key)
        if share is not None:
            return share
    return None


def _share_in(path: Path, build_key: str) -> RightShare | None:
    try:
        report = read_report(path)
    except WorkbenchError:
        return None  # of an older version: it tells nothing here
    for one in report.artifacts:
        if one.build_key == build_key and one.sets:
            first = one.sets[0]
            return RightShare(first.overall, first.question_set, str(path))
    return None


def per_correct(cost: float | None, score: Score | None) -> CostPerCorrect | None:
    """Cost per correct answer.

    Args:
        cost: seconds or joules of one answer.
        score: how often it is right.

    Returns:
        ``None`` where either is not known, or no answer was right. ``high`` is infinite where p might be 0.
    """
    if cost is None or score is None or not score.correct:
        return None
    low, high = score.interval
    return CostPerCorrect(cost / score.value, cost / high, cost / low if low else float("inf"))
