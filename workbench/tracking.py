"""A build report in an experiment tracker's terms: one parent run, one child per artifact.

Runs are told apart by tags (``recipe``, ``profile``, ``format``, ``gate``, ``recommended``), compared by metrics
(``workbench/tracked_metrics.py``) and joined to what they were asked by datasets. An artifact that ran is described
so that a tracker with a registry can serve it (``workbench/served_model.py``). Whatever a tracker is told stands in the
report too.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path

from workbench.artifact import MANIFEST_NAME, Artifact, Manifest, sha256_json
from workbench.plots import PLOTS_NAME
from workbench.report import ArtifactReport, BuildReport, with_verdict
from workbench.report_html import PAGE_NAME
from workbench.tables import LEGEND, comparison_table
from workbench.tracked_metrics import artifact_metrics, noise_metrics
from workbench.trackers.base import VARIANT, TrackedBuild, TrackedChoice, TrackedDataset, TrackedModel, TrackedRun
from workbench.work import MAX_NEW_TOKENS

REPORT_FILES = (PAGE_NAME, "report.md", "report.json", PLOTS_NAME)
QUESTION_COLUMNS = ("question", "query", "db_name", "query_category")
NO_GATE = "none"


def tracked_build(report: BuildReport, folder: Path, artifacts: Mapping[str, Artifact]) -> TrackedBuild:
    """Params, metrics, tags and files of one build.

    Args:
        report: the finished report.
        folder: holds ``REPORT_FILES`` and ``predictions/``; what is missing is left out.
        artifacts: by recipe name.
    """
    name = short_name(report.model)
    children = [
        _child(report, one, folder, artifacts[one.recipe]) for one in report.artifacts if one.recipe in artifacts
    ]
    return TrackedBuild(
        experiment=f"sqlcoder-workbench/{name}",
        parent=_parent(report, folder),
        children=children,
        choice=TrackedChoice(name, report.profile, report.recommended, report.reason),
        question_set=report.question_sets[0]["name"] if report.question_sets else "",
        predicted=not report.profile_is_here,
        note=f"Variants of `{report.model}`: one run per build, one nested run per variant. "
        "`workbench ui` prints the address that shows the figures in columns.",
        recording=sha256_json([platform.node(), str(folder.resolve())])[:16],
    )


def short_name(model: str) -> str:
    """The last part of a Hub id or folder."""
    return model.rstrip("/").rsplit("/", 1)[-1]


def _common(report: BuildReport) -> dict[str, str]:
    return {
        "model": report.model,
        "profile": report.profile,
        "prompt": report.prompt,
        "machine": report.machine,
        "beams": str(report.beams),
    }


def _parent(report: BuildReport, folder: Path) -> TrackedRun:
    refuted = ", ".join(artifact.recipe for artifact in with_verdict(report, "refuted"))
    return TrackedRun(
        name=f"{short_name(report.model)} on {report.profile}",
        params={
            **_common(report),
            "context_tokens": str(report.context),
            "source_digest": report.source["digest"],
            "source_revision": str(report.source["revision"]),
            **{f"questions_digest.{one['name']}": one["digest"] for one in report.question_sets},
            **{f"reference_{key}": value for key, value in report.reference.items()},
        },
        metrics={"build_s": report.seconds, **noise_metrics(report)},
        tags={
            "kind": "build",
            "model": short_name(report.model),
            "profile": report.profile,
            "recommended": report.recommended or "none",
            **({"refuted": refuted} if refuted else {}),
        },
        artifacts=[folder / name for name in REPORT_FILES],
        note=_parent_note(report),
        datasets=_question_sets(report),
    )


def _parent_note(report: BuildReport) -> str:
    """The recommendation and the table of variants."""
    said = f"**Recommended: `{report.recommended}`** - " if report.recommended else "**Nothing is recommended** - "
    return f"{said}{report.reason}.\n\n{comparison_table(report).markdown()}\n\n{LEGEND}"


def _question_sets(report: BuildReport) -> list[TrackedDataset]:
    return [
        TrackedDataset(
            one["name"], one["digest"], "evaluation", one["questions"], one.get("source", "bundled"), QUESTION_COLUMNS
        )
        for one in report.question_sets
    ]


def _calibration(manifest: Manifest) -> list[TrackedDataset]:
    """The texts a format looked at while it rounded, where it did."""
    one = manifest.details.get("calibration")
    if not isinstance(one, dict) or "sha256" not in one:
        return []
    facts = {"tokens": int(one["tokens"])} if "tokens" in one else {}
    source = one.get("source", "bundled")
    return [TrackedDataset("calibration", one["sha256"], "calibration", int(one["texts"]), source, ("text",), facts)]


def _child(report: BuildReport, one: ArtifactReport, folder: Path, artifact: Artifact) -> TrackedRun:
    manifest = artifact.manifest
    options = {f"recipe.{key}": str(value) for key, value in manifest.recipe["options"].items()}
    predictions = [folder / "predictions" / f"{one.recipe}.{scored.question_set}.jsonl" for scored in one.sets]
    tags = {
        "model": short_name(report.model),
        "recipe": one.recipe,
        "profile": report.profile,
        "format": manifest.format,
        "gate": str(one.acceptance.get("verdict", NO_GATE)),
    }
    return TrackedRun(
        name=f"{one.recipe} on {report.profile}",
        params={
            "recipe": one.recipe,
            "format": manifest.format,
            **options,
            "runtime": one.runtime,
            "device": one.device,
            **_common(report),
            "source_digest": manifest.source["digest"],
        },
        metrics=artifact_metrics(one),
        tags={
            "kind": VARIANT,
            **tags,
            "recommended": str(one.recipe == report.recommended).lower(),
            "build_key": one.build_key,
            **_gate_tags(one),
            **({"error": one.error} if one.error else {}),
        },
        artifacts=[artifact.path / MANIFEST_NAME, *predictions],
        weight_reference=artifact.path,
        weight_files=[artifact.path / entry.path for entry in manifest.files],
        note=_child_note(report, one),
        datasets=[*_question_sets(report), *_calibration(manifest)],
        model=None if one.error else _model(report, one, manifest, tags),
    )


def _gate_tags(one: ArtifactReport) -> dict[str, str]:
    """What the accuracy gate asked; no parameter, since MLflow draws those that differ as axes of its comparison."""
    gate = one.acceptance
    if not gate:
        return {}
    return {"gate.loss_max_points": str(gate["loss_max_points"]), "gate.confidence": str(gate["confidence"])}


def _child_note(report: BuildReport, one: ArtifactReport) -> str:
    """What a reader of one variant must know."""
    lines = [f"`{one.recipe}` of `{report.model}`, run by {one.runtime} on {one.device}."]
    if one.recipe == report.recommended:
        lines.append(f"**Recommended for `{report.profile}`**: {report.reason}.")
    if one.acceptance:
        lines.append(f"Accuracy gate: **{one.acceptance['verdict']}**. {one.acceptance.get('reason', '')}".strip())
    lines += [f"- {note}" for note in (*one.notes, *([f"error: {one.error}"] if one.error else []))]
    return "\n\n".join(lines)


def _model(report: BuildReport, one: ArtifactReport, manifest: Manifest, tags: Mapping[str, str]) -> TrackedModel:
    """What is registered of an artifact that ran."""
    facts = {
        **{key: value for key, value in tags.items() if key not in ("model", "profile")},
        "bits_per_weight": f"{manifest.bits_per_weight:.4g}",
        "runtime": str(manifest.recipe.get("runtime")),
        "source_digest": str(manifest.source["digest"]),
        "weights.sha256": json.dumps({entry.path: entry.sha256 for entry in manifest.files}),
    }
    serving = {
        "context": report.context,
        "beams": report.beams,
        "prompt": report.prompt,
        "max_new_tokens": MAX_NEW_TOKENS,
    }
    return TrackedModel(
        name=short_name(report.model),
        recipe=one.recipe,
        build_key=manifest.build_key,
        profile=report.profile,
        tags=facts,
        description=f"{one.recipe} ({manifest.format}, {manifest.bits_per_weight:.3g} bits a weight, "
        f"{manifest.weight_bytes:,} bytes). {manifest.recipe.get('description', '')}",
        serving=serving,
    )
