"""What is known of an artifact, as its manifest carries it: the results of every build that made or measured it.

A build leaves its report beside the artifacts (``<store>/<model>/reports/<profile>/report.json``). Of each report that
speaks of this very artifact, by its build key, the package keeps what others can use: figures with their conditions,
scores with their intervals, flips, divergence, the gate's verdict, digests of the question sets. Paths and commands
of the machine that built it stay there.

The record, under ``results`` of the manifest (all JSON; empty ``reports`` where nothing was measured)::

    {"reports": [{"profile": "cpu", "profile_is_here": true, "machine": "AMD EPYC, 2 cores, 23 GiB",
        "made_at": "2026-...", "context": 1024, "beams": 1, "prompt": "nano", "reference": {...}, "noise": {...},
        "question_sets": [{"name", "questions", "digest", "source"}], "tool_versions": {...},
        "recommended": true, "reason": "...", "plan": {"fits", "reason", "largest_context"},
        "artifact": {"runtime", "device", "weight_bytes", "bits_per_weight", "measurements": [...],
            "predictions": [...], "notes", "conformance", "divergence", "acceptance", "error",
            "sets": [{"question_set", "verdicts", "flips",
                "scores": [{"name", "correct", "total", "value", "interval_95"}]}]}}]}

``measurements`` hold measured values and, for a profile that was not at hand, predicted ones: each says which it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workbench.artifact import Artifact
from workbench.errors import WorkbenchError
from workbench.report import ArtifactReport, BuildReport, read_report, report_record

REPORTS = "reports"
_OF_BUILD = (
    "profile", "profile_is_here", "machine", "made_at", "context", "beams", "prompt", "reference", "noise",
    "tool_versions",
)  # fmt: skip
_OF_ARTIFACT = (
    "runtime", "device", "weight_bytes", "bits_per_weight", "measurements", "predictions", "sets", "notes",
    "conformance", "divergence", "acceptance", "error",
)  # fmt: skip


def collect_results(artifact: Artifact, reports: Sequence[Path] = ()) -> dict[str, Any]:
    """The record described above.

    Args:
        artifact: to be packaged.
        reports: files or folders of reports; none means those of the store it lies in.

    Raises:
        WorkbenchError: a report that was named cannot be read, or does not speak of this artifact.
    """
    found = [record for report in _reports(artifact, reports) if (record := _record(artifact, report))]
    if reports and len(found) != len(reports):
        raise WorkbenchError(
            f"a report given with --report does not speak of {artifact.path}; give those of builds that made it"
        )
    return {"reports": sorted(found, key=lambda record: (not record["profile_is_here"], record["profile"]))}


def _reports(artifact: Artifact, named: Sequence[Path]) -> Iterable[BuildReport]:
    if named:
        yield from map(read_report, named)
        return
    for file in sorted((artifact.path.resolve().parent / REPORTS).glob("*/report.json")):
        try:
            yield read_report(file)
        except WorkbenchError:
            continue  # of an older workbench: it can be named to hear why


def _record(artifact: Artifact, report: BuildReport) -> dict[str, Any] | None:
    """What a report says of an artifact; ``None`` where it does not speak of it."""
    own = next((one for one in report.artifacts if _same(one, artifact)), None)
    if own is None:
        return None
    whole = report_record(report)
    raw = next(one for one in whole["artifacts"] if one["recipe"] == own.recipe)
    return {
        **{key: whole[key] for key in _OF_BUILD},
        "question_sets": [_question_set(one) for one in report.question_sets],
        "recommended": report.recommended == own.recipe,
        "reason": report.reason if report.recommended == own.recipe else "",
        "plan": _planned(report, own.recipe),
        "artifact": {key: raw[key] for key in _OF_ARTIFACT},
    }


def _planned(report: BuildReport, recipe: str) -> dict[str, Any]:
    """What the plan said of the recipe on the profile: whether it fits, and why; empty where it says nothing."""
    row: dict[str, Any] = next((one for one in report.plan["recipes"] if one["recipe"] == recipe), {})
    return {key: row[key] for key in ("fits", "reason", "largest_context") if key in row}


def _same(one: ArtifactReport, artifact: Artifact) -> bool:
    return one.recipe == artifact.name and one.build_key == artifact.manifest.build_key


def _question_set(one: dict[str, Any]) -> dict[str, Any]:
    """A question set without the folder it lay in."""
    source = str(one.get("source", "bundled"))
    return {**{key: one[key] for key in ("name", "questions", "digest")}, "source": Path(source).name}
