"""What lies beside the weights of a package: made again in full, and nothing more than that may lie there.

Configs, tokenizer, graphs and indexes are small, so they are all written anew into a temporary folder by the code that
wrote the package's, and compared. A file of the package that neither the conversion nor the packaging writes is a
fault: an engine might load it instead. So is a fact in the manifest that the source and the recipe do not give.

Example::

    small = made_small(draft)
    small_faults(artifact, draft, small)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.artifact import Artifact, Manifest, sha256_file
from workbench.checkpoint import Checkpoint
from workbench.formats._draft import Draft
from workbench.generation_settings import GENERATION_CONFIG
from workbench.package_files import (
    BOM,
    CARD,
    CHAT_TEMPLATE,
    EVAL_RESULTS,
    LICENCE,
    MODELFILE,
    NOTICE,
    PROMPT,
    SERVE,
)
from workbench.rederive_source import shown
from workbench.usage import OLLAMA_PARAMS, OLLAMA_TEMPLATE

DESCRIBED = frozenset(
    {
        BOM, CARD, CHAT_TEMPLATE, GENERATION_CONFIG, LICENCE, MODELFILE, NOTICE, OLLAMA_PARAMS, OLLAMA_TEMPLATE, PROMPT,
        SERVE,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Small:
    """What a conversion writes beside the weights.

    Attributes:
        digests: sha256 of each file, by name.
        details: what the manifest is to say of the conversion, as far as it is known without one.
    """

    digests: dict[str, str]
    details: dict[str, Any]


def made_small(draft: Draft) -> Small:
    """Write the small files, and forget all but their digests.

    Raises:
        WorkbenchError: the source does not allow it.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-rederive-") as place:
        folder = Path(place)
        details = draft.finish(folder)
        digests = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
    return Small(digests, json.loads(json.dumps(details)))


def is_described(manifest: Manifest, name: str) -> bool:
    """Whether packaging writes a file of this name, in place of the conversion's where both do.

    What is in such files follows from the manifest alone, and is looked at elsewhere (``workbench/verify.py``).
    """
    return bool(manifest.package) and (name in DESCRIBED or name.startswith(f"{EVAL_RESULTS}/"))


def unknown_files(manifest: Manifest, made: Collection[str]) -> list[str]:
    """Names of files that neither the conversion makes, as these were, nor packaging writes."""
    names = [entry.path for entry in manifest.files]
    return [name for name in names if name not in made and not is_described(manifest, name)]


def small_faults(artifact: Artifact, draft: Draft, small: Small) -> Iterator[str]:
    """A line for each file that is another, missing or too many.

    Args:
        artifact: the package.
        draft: of its conversion.
        small: made by it.
    """
    for name, digest in small.digests.items():
        path = artifact.path / name
        if is_described(artifact.manifest, name):
            continue
        if not path.is_file():
            yield f"{name} is missing"
        elif sha256_file(path) != digest:
            yield f"{name} is not what the source and the recipe give"
    made = {*small.digests, *(file.name for file in draft.files)}
    for name in unknown_files(artifact.manifest, made):
        yield f"{shown(name)} is no file that the recipe makes or a package holds"


def fact_faults(manifest: Manifest, checkpoint: Checkpoint, small: Small, weight_bytes: int) -> Iterator[str]:
    """A line for each fact of the manifest that the source and the recipe do not give.

    Args:
        manifest: of the package.
        checkpoint: its source.
        small: what the conversion says of itself.
        weight_bytes: of the weight files.
    """
    expected = {
        "model": checkpoint.model_name,
        "architecture": checkpoint.architecture,
        "parameters": checkpoint.parameters,
        "weight_bytes": weight_bytes,
        "bits_per_weight": 8 * weight_bytes / checkpoint.parameters,
    }
    for key, value in expected.items():
        if getattr(manifest, key) != value:
            yield f"the manifest's {key} is {shown(str(getattr(manifest, key)))}, made again it is {value}"
    for key, value in small.details.items():
        if not _holds(manifest.details.get(key), value):
            yield f"the manifest's details.{key} is not what the source and the recipe give"


def _holds(told: Any, made: Any) -> bool:
    """Whether a fact is told, perhaps with more beside it."""
    if isinstance(made, dict) and isinstance(told, dict):
        return all(_holds(told.get(key), value) for key, value in made.items())
    return bool(told == made)
