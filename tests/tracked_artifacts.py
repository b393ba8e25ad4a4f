"""Artifacts of the mock engine, with the runs and builds that a tracker is handed of them."""

import json
from pathlib import Path

from workbench.artifact import Artifact, Manifest, open_artifact, seal
from workbench.trackers.base import TrackedBuild, TrackedChoice, TrackedDataset, TrackedModel, TrackedRun

MODEL = "tiny"
SERVING = {"context": 256, "beams": 1, "prompt": "nano", "max_new_tokens": 300}


def mock_artifact(folder: Path, name: str = "q4", key: str = "key", **settings: object) -> Artifact:
    """An artifact whose engine answers what its file says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mock.json").write_text(json.dumps(settings))
    recipe = {"runtime": "mock", "options": {}, "description": "A mock."}
    seal(folder, Manifest(name, MODEL, "llama", "nano", "mock", recipe, {"digest": "d"}, (), 9, 9, 8.0, {}, key))
    return open_artifact(folder)


def child(artifact: Artifact, profile: str = "cpu", gate: str = "proved", **changes: object) -> TrackedRun:
    """The run of an artifact that can serve."""
    manifest = artifact.manifest
    model = TrackedModel(
        MODEL, manifest.name, manifest.build_key, profile,
        {"recipe": manifest.name, "format": "mock", "gate": gate}, f"the `{manifest.name}`", SERVING,
    )  # fmt: skip
    values = {
        "name": f"{manifest.name} on {profile}",
        "metrics": {"heldout/sql_accuracy_ratio": 0.9, "question_s": 1.5, "weight_bytes": 9.0},
        "params": {"recipe": manifest.name},
        "tags": {"kind": "variant", "recipe": manifest.name, "profile": profile, "gate": gate, "recommended": "true"},
        "weight_reference": artifact.path,
        "note": "**a note**",
        "datasets": [TrackedDataset("heldout", "a" * 64, "evaluation", 336, "bundled", ("question",))],
        "model": model,
    }
    return TrackedRun(**{**values, **changes})


def build_of(*children: TrackedRun, recommended: str | None = None, profile: str = "cpu") -> TrackedBuild:
    """A build of a folder, with a recommendation."""
    return TrackedBuild(
        "sqlcoder-workbench/tiny",
        TrackedRun(f"tiny on {profile}", tags={"kind": "build", "profile": profile}),
        list(children),
        TrackedChoice(MODEL, profile, recommended, "it is the best" if recommended else "none is accurate enough"),
        "heldout",
        recording=f"folder-of-{profile}",
    )
