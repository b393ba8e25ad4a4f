"""Manifests with results, as a package has them, for tests of what is made of a manifest."""

import dataclasses
from pathlib import Path

from reports import CATEGORIES, divergence, flips, report, set_scores
from reports import artifact as artifact_report

from workbench.artifact import Artifact, Manifest, seal
from workbench.measure import Measurement, Score
from workbench.package_results import collect_results
from workbench.report import SetScores
from workbench.report_page import write_report

LICENCE = {
    "spdx": "CC-BY-SA-4.0",
    "name": "Creative Commons Attribution Share Alike 4.0 International",
    "link": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "attribution": "Made from defog/sqlcoder2 by Defog, Inc.",
    "base_model": "defog/sqlcoder2",
}
CONDITIONS = {"prompt_tokens": 246, "new_tokens": 48, "batch": 1, "beams": 4}
MEASURED = (
    Measurement("question_s", 0.5, "s", "measured", "a machine", p95=0.6, samples=7, conditions=CONDITIONS),
    Measurement("peak_memory_bytes", 2.0**30, "bytes", "measured", "a machine", samples=1),
)
PREDICTED = (
    Measurement(
        "question_s", 0.123, "s", "predicted", "roofline model v2", conditions=CONDITIONS, interval=(0.081, 0.249)
    ),
    Measurement("peak_memory_bytes", 3.0 * 2**30, "bytes", "predicted", "memory model v2"),
)
ACCEPTANCE = {
    "verdict": "proved",
    "reason": "with 95% confidence it loses at most 1.5 points, 2 are accepted",
    "loss_max_points": 2.0,
    "confidence": 0.95,
    "questions": 100,
    "questions_needed": None,
}
CONFORMANCE = {
    "passed": True,
    "engine": "mock none",
    "tokenizer": {"texts": 6, "equal": 6, "differing": []},
    "logits": {"relative_error": 0.06, "tolerance": 0.4},
    "greedy": {"tokens": 55, "equal": 54},
    "kernels": [{"kernel": "marlin", "loads": False, "reason": "takes 4 bits, not 3", "source": "vllm"}],
}


def manifest(**changes) -> Manifest:
    """Of a package of which nothing was measured."""
    values = {
        "name": "gguf-q4_k_m",
        "model": "sqlcoder2",
        "architecture": "gpt_bigcode",
        "prompt": "v1",
        "format": "gguf",
        "recipe": {
            "name": "gguf-q4_k_m",
            "description": "One file of about 5 bits a weight.",
            "format": "gguf",
            "runtime": "llama_cpp",
            "backends": ["cuda", "cpu"],
            "options": {"type": "q4_k_m", "imatrix": False},
        },
        "source": {"id": "defog/sqlcoder2", "revision": "a" * 40, "digest": "d" * 64, "licence": LICENCE},
        "files": (),
        "weight_bytes": 9_000_000_000,
        "parameters": 15_500_000_000,
        "bits_per_weight": 4.65,
        "tool_versions": {"workbench": "0.1.0", "gguf": "0.19.0"},
        "build_key": "k",
        "conformance": CONFORMANCE,
        "acceptance": ACCEPTANCE,
        "package": {"version": 1, "workbench": "0.1.0", "repository": None},
    }
    return Manifest(**{**values, **changes})


def own_report(profile="cpu", here=True, recipe="gguf-q4_k_m", **changes):
    """What a build says of the package of ``manifest``, on two question sets."""
    sets = (
        SetScores("heldout", set_scores().scores, {}, flips(3, 1, 0.625)),
        SetScores("unseen", (Score("sql_accuracy", 3, 40), *CATEGORIES), {}, flips(0, 0, 1.0)),
    )
    own = artifact_report(
        recipe,
        sets=sets,
        measurements=MEASURED if here else PREDICTED,
        predictions=PREDICTED,
        divergence=divergence(),
        notes=(),
    )
    question_sets = (
        {"name": "heldout", "questions": 100, "digest": "e" * 64, "source": "bundled"},
        {"name": "unseen", "questions": 40, "digest": "f" * 64, "source": "/home/me/my questions.csv"},
    )
    values = {
        "profile": profile,
        "profile_is_here": here,
        "question_sets": question_sets,
        "recommended": recipe,
        "beams": 4,
        "made_at": "2026-11-23T19:00:54+00:00",
        "plan": {"recipes": [{"recipe": recipe, "build": True, "fits": True, "reason": "fits: needs 1 of 18 GiB"}]},
        "reference": {"name": "fp16", "kind": "artifact", "digest": "r" * 64},
    }
    return report(own, **{**values, **changes})


def with_results(folder: Path, *reports, **changes) -> Manifest:
    """The manifest with what these reports say, collected from a store as ``workbench package`` does."""
    made = manifest(**changes)
    place = folder / made.name
    place.mkdir(parents=True)
    (place / "model.Q4_K_M.gguf").write_bytes(b"weights")
    sealed = seal(place, made)
    for one in reports or (own_report(),):
        write_report(one, folder / "reports" / one.profile)
    return dataclasses.replace(sealed, results=collect_results(Artifact(place, sealed)))
