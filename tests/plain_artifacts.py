"""An artifact of a few bytes, for tests of what is made of its manifest: nothing in it can be run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from workbench.artifact import Artifact, Manifest, open_artifact, seal
from workbench.nano import MODEL_DIR

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 8
REPORT: dict[str, Any] = {
    "profile": "rtx4090", "profile_is_here": True, "machine": "NVIDIA GeForce RTX 4090", "context": 1024, "beams": 1,
    "made_at": "2026-11-23T19:00:54+00:00", "prompt": "nano", "recommended": False, "reason": "", "noise": {},
    "reference": {"name": "fp16", "kind": "artifact", "digest": "f" * 64}, "tool_versions": {"torch": "2.13.0+cpu"},
    "question_sets": [{"name": "heldout", "questions": 336, "digest": "3d" * 32, "source": "bundled"}],
    "artifact": {
        "runtime": "transformers 5.23.0", "device": "cuda", "weight_bytes": 2048, "bits_per_weight": 4.5, "notes": [],
        "predictions": [], "conformance": {}, "divergence": {}, "acceptance": {}, "error": None,
        "measurements": [
            {"name": "decode_tokens_per_s", "value": 91.5, "unit": "tokens/s", "kind": "measured", "source": "clock",
             "p95": None, "samples": 5, "conditions": {"batch": 1}, "p99": None, "values": [],
             "interval": [90.0, 93.0]},
        ],
        "sets": [
            {"question_set": "heldout", "verdicts": {}, "flips": None,
             "scores": [{"name": "sql_accuracy", "correct": 300, "total": 336, "value": 300 / 336,
                         "interval_95": [0.855, 0.921], "interval_method": "wilson"}]},
        ],
    },
}  # fmt: skip


def plain_manifest(**changes: Any) -> Manifest:
    """A manifest of a 4-bit artifact of a Hub model that is on no machine."""
    facts: dict[str, Any] = {
        "name": "gptq-4bit",
        "model": "none",
        "architecture": "gpt_bigcode",
        "prompt": "nano",
        "format": "gptq",
        "recipe": {"name": "gptq-4bit", "format": "gptq", "options": {"bits": 4, "damp": 0.01}},
        "source": {"id": "nobody/none", "revision": COMMIT, "digest": "ab" * 32},
        "files": (),
        "weight_bytes": len(WEIGHTS),
        "parameters": 4096,
        "bits_per_weight": 4.0,
        "tool_versions": {"workbench": "0.1.0", "torch": "2.13.0+cpu"},
        "build_key": "cd" * 32,
        "details": {"calibration": {"source": "bundled", "texts": 128, "tokens": 9, "texts_sha256": "ca" * 32}},
        "results": {"reports": [REPORT]},
    }
    return Manifest(**{**facts, **changes})


def plain_artifact(folder: Path, **changes: Any) -> Artifact:
    """The same as a folder: weights that are none, config and tokenizer of the bundled model."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(MODEL_DIR / name, folder / name)
    seal(folder, plain_manifest(**changes))
    return open_artifact(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
