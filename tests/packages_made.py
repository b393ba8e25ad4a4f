"""Packages made by hand: small, with everything that a push looks for, of any recipe and format."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from workbench.artifact import Manifest, manifest_of, seal, sha256_file
from workbench.package_files import BOM, CARD, MANIFEST, PROVENANCE

MODEL = "sqlcoder-nano"
WEIGHTS = {"gguf": "{model}.{recipe}.gguf", "int8": "model.safetensors"}


def made_package(
    folder: Path, recipe: str = "q4", format: str = "gguf", more: dict[str, str] | None = None, **fields: Any
) -> Path:
    """A finished package.

    Args:
        folder: to fill.
        recipe: its name.
        format: ``gguf`` lies side by side with others.
        more: texts of further files by name.
        fields: of the manifest, in place of the usual.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = fields.get("model", MODEL)
    weights = f"weights of {model} {recipe} ".encode() * 2000
    (folder / WEIGHTS[format].format(model=model, recipe=recipe)).write_bytes(weights)
    texts = {
        CARD: "---\nlicense: cc-by-sa-4.0\n---\n# A card\n",
        BOM: "{}\n", "LICENSE": "the licence\n", "template": "{{ .Prompt }}\n", "params": "{}\n",
        f".eval_results/{recipe}.yaml": "[]\n", **(more or {}),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    options = {"name": recipe, "runtime": "mock", "format": format, "options": {}, "description": "A test."}
    manifest = Manifest(
        name=recipe, model=model, architecture="gpt_bigcode", prompt="nano", format=format, recipe=options,
        source={"id": model, "revision": "1", "digest": "0" * 64, "licence": {"spdx": "CC-BY-SA-4.0"}}, files=(),
        weight_bytes=len(weights), parameters=len(weights), bits_per_weight=8.0, tool_versions={"workbench": "0.1"},
        build_key=hashlib.sha256(recipe.encode()).hexdigest(), package={"version": 1, "made_at": None},
    )  # fmt: skip
    return sealed(folder, dataclasses.replace(manifest, **fields))


def sealed(folder: Path, manifest: Manifest) -> Path:
    """The folder with its manifest and a provenance that names it."""
    (folder / PROVENANCE).unlink(missing_ok=True)
    seal(folder, manifest)
    subject = [{"name": MANIFEST, "digest": {"sha256": sha256_file(folder / MANIFEST)}}]
    (folder / PROVENANCE).write_text(json.dumps({"_type": "https://in-toto.io/Statement/v1", "subject": subject}))
    return folder


def changed(folder: Path, **fields: Any) -> Path:
    """The package with other fields in its manifest, and proof that fits it."""
    return sealed(folder, dataclasses.replace(manifest_in(folder), **fields))


def manifest_in(folder: Path) -> Manifest:
    """The package's manifest, whatever its files are by now."""
    return manifest_of(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))


def files_of(folder: Path) -> dict[str, bytes]:
    """Contents of a folder's files by name."""
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}
