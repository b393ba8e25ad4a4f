"""The model card within a bill of materials: what a model is for, how it was built, what was measured of it.

CycloneDX describes a model by a ``modelCard`` (https://cyclonedx.org/docs/1.6/json/#components_items_modelCard): its
parameters and data sets, performance metrics with their confidence intervals, considerations. The Python library has
no class for it, so it is made here as JSON and validated with the rest by the library's strict schema.

A metric is a number in text, its ``slice`` what it was taken on. Predicted figures bear that word in their type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workbench.artifact import Manifest

INTERVAL_95 = "interval_95"


def model_card(manifest: Manifest, datasets: Mapping[str, str]) -> dict[str, Any]:
    """The ``modelCard`` object.

    Args:
        manifest: of the package.
        datasets: references of the data components, by name.
    """
    return {
        "bom-ref": "model-card",
        "modelParameters": {
            "approach": {"type": "supervised"},  # on questions with their SQL, in the prompt that is named below
            "task": "text-generation: a question and a schema become SQL",
            "architectureFamily": "decoder-only transformer",
            "modelArchitecture": manifest.architecture,
            "datasets": [{"ref": reference} for _, reference in sorted(datasets.items())],
            "inputs": [{"format": "string"}],
            "outputs": [{"format": "string"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(manifest))},
        "considerations": {
            "users": ["programs and people who ask a relational database questions in English"],
            "useCases": ["text-to-SQL, on hardware of one's own"],
            "technicalLimitations": [
                f"trained on the prompt {manifest.prompt!r}; other prompts cost accuracy",
                "its SQL can be wrong, and can alter data: run it with a role that may only read",
            ],
            "performanceTradeoffs": _tradeoffs(manifest),
        },
    }


def _tradeoffs(manifest: Manifest) -> list[str]:
    told = [f"{manifest.bits_per_weight:.2f} bits a weight"]
    if manifest.acceptance:
        told.append(f"accuracy gate: {manifest.acceptance['verdict']}: {manifest.acceptance['reason']}")
    return told


def _metrics(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for report in manifest.results.get("reports", ()):
        where = f"{report['profile']} ({report['machine']})"
        for one in report["artifact"]["sets"]:
            for score in one["scores"]:
                yield _metric(score["name"], score["value"], f"{one['question_set']}, {where}", score[INTERVAL_95])
        for one in report["artifact"]["measurements"]:
            kind = "" if one["kind"] == "measured" else f"{one['kind']} "
            if one["value"] is not None:
                yield _metric(f"{kind}{one['name']} [{one['unit']}]", one["value"], where, one.get("interval"))


def _metric(name: str, value: float, where: str, interval: list[float] | None) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": name, "value": repr(value), "slice": where}
    if interval:
        metric["confidenceInterval"] = {"lowerBound": repr(interval[0]), "upperBound": repr(interval[1])}
    return metric
