"""A manifest from a stranger: of the right types, within bounds, and in agreement with itself.

The manifest says what a package is; everything else is compared with it. So it is read more strictly than one of our
own: no key twice, every field of its type, digests that are digests, names that are file names on every system, and
sums that add up. What it cannot show by itself, that it is the one that was made, is the provenance's and the
signature's part::

    read_manifest(folder / "manifest.json").weight_bytes
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from workbench.artifact import MANIFEST_VERSION, Manifest, manifest_of
from workbench.errors import ArtifactError
from workbench.untrusted_json import check_json, read_bounded

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_BYTES = 64 << 20
MOST_LISTED = 5000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[\w.+-]{1,200}")
_WEIGHTS = re.compile(r".*(\.safetensors|\.gguf|\.onnx.*)")


def read_manifest(path: Path) -> Manifest:
    """The manifest of a package that may come from anybody.

    Raises:
        ArtifactError: it is none, or contradicts itself; the message says where.
    """
    from pydantic import ValidationError

    record = check_json(path, MOST_BYTES)
    try:
        manifest = manifest_of(record)
        _adapter().validate_json(read_bounded(path, MOST_BYTES), strict=True)
        _check_values(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:200]
        raise ArtifactError(f"{path.name} is no manifest ({place}: {first['msg']})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path.name} is no manifest ({str(error)[:300]})") from error
    return manifest


@cache
def _adapter() -> TypeAdapter[Manifest]:
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def _check_values(manifest: Manifest) -> None:
    """Fields that have a form, and sums."""
    if manifest.schema_version != MANIFEST_VERSION:
        raise ValueError(f"its version is {manifest.schema_version}, this workbench knows {MANIFEST_VERSION}")
    for name in ("name", "model", "format", "architecture", "prompt"):
        if not _WORD.fullmatch(getattr(manifest, name)):
            raise ValueError(f"{name} is no name")
    if not _SHA256.fullmatch(manifest.build_key):
        raise ValueError("build_key is no sha256")
    if len(manifest.files) > MOST_LISTED:
        raise ValueError(f"it lists {len(manifest.files)} files")
    for entry in manifest.files:
        if entry.bytes < 0 or not _SHA256.fullmatch(entry.sha256):
            raise ValueError(f"{entry.path!r} has no size or no sha256")
    _check_sums(manifest)


def _check_sums(manifest: Manifest) -> None:
    weights = sum(entry.bytes for entry in manifest.files if _is_weight(entry.path))
    if weights != manifest.weight_bytes:
        raise ValueError(f"weight_bytes is {manifest.weight_bytes}, its weight files have {weights}")
    if manifest.parameters <= 0:
        raise ValueError("it has no parameters")
    bits = 8 * weights / manifest.parameters
    if not math.isclose(bits, manifest.bits_per_weight, rel_tol=1e-9):
        raise ValueError(f"bits_per_weight is {manifest.bits_per_weight}, its bytes and parameters make {bits}")


def _is_weight(name: str) -> bool:
    """As the formats count them (``Format.weight_files``)."""
    return len(PurePosixPath(name).parts) == 1 and bool(_WEIGHTS.fullmatch(name))
