"""Artifacts of the mock runtime, for tests of benchmarks: their timings are drawn as the test says."""

import json
from pathlib import Path

from workbench.artifact import Manifest, seal


def mock_artifact(folder: Path, **settings: object) -> Path:
    """An artifact folder whose name is its recipe's; ``settings`` are those of ``workbench/runtimes/mock.py``."""
    folder.mkdir(parents=True)
    (folder / "mock.json").write_text(json.dumps(settings))
    recipe = {"runtime": "mock"}
    seal(folder, Manifest(folder.name, "m", "gpt_bigcode", "nano", "mock", recipe, {}, (), 1, 1, 8.0, {}, "key"))
    return folder
