"""Where a package says it is from: its recipe, its source and its calibration texts, looked at before they are used.

A manifest comes from whoever made the package. Its recipe passes the same models as a recipe file does; its source's
name may only be the bundled model's or a Hub id with a full commit, never a path of the auditor's machine; and what
is opened must have the digest that the manifest tells, over config, tokenizer and every tensor. What is not at hand
is an answer of its own: nothing can be said then.

Example::

    recipe = recipe_of(manifest)
    checkpoint = source_of(manifest, None, None, SILENT)
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from workbench.artifact import Manifest
from workbench.calibration import BUNDLED, CalibrationTexts, load_calibration
from workbench.catalog import get_format
from workbench.checkpoint import Checkpoint, open_checkpoint, open_from_hub
from workbench.errors import ArtifactError, WorkbenchError
from workbench.formats.base import Format, Options
from workbench.hub_checkpoint import cached
from workbench.hub_layout import HUB_ID
from workbench.nano import MODEL_NAME
from workbench.progress import Listener
from workbench.prompt import PROMPTS
from workbench.recipe import Recipe, describe_faults
from workbench.sizes import size_text

LONGEST = 200  # characters of what a stranger wrote that are shown
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class UncheckableError(WorkbenchError):
    """What it takes to check a package is not at hand; the message says what."""


@contextmanager
def uncheckable() -> Iterator[None]:
    """Errors in here mean that something is missing, not that the package is wrong."""
    try:
        yield
    except WorkbenchError as error:
        raise UncheckableError(shown(str(error))) from error


def shown(text: str) -> str:
    """A stranger's words on one line, and not too many."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def recipe_of(manifest: Manifest) -> tuple[Recipe, Format[Options], Options]:
    """The manifest's recipe with its format and typed options.

    Raises:
        ArtifactError: it is none; one sentence.
    """
    try:
        recipe = Recipe.model_validate(manifest.recipe)
        weights = get_format(recipe.format)
        options = weights.options_model.model_validate(recipe.options)
    except ValidationError as error:
        raise ArtifactError(f"the manifest's recipe is none: {shown('; '.join(describe_faults(error)))}") from error
    except WorkbenchError as error:
        raise ArtifactError(f"the manifest's recipe is none: {shown(str(error))}") from error
    if (recipe.name, recipe.format) != (manifest.name, manifest.format):
        raise ArtifactError(f"the manifest names {shown(manifest.name)} and its recipe {recipe.name}")
    return recipe, weights, options


def source_of(manifest: Manifest, given: str | None, revision: str | None, listener: Listener) -> Checkpoint:
    """The checkpoint that a package was made of, known by its digest.

    Args:
        manifest: of the package.
        given: folder or Hub id to take for it; ``None`` means what the manifest names.
        revision: of a Hub id that is given.
        listener: hears what is read.

    Raises:
        ArtifactError: the manifest does not tell a source.
        UncheckableError: the source is not at hand, or is another.
        WorkbenchError: what was given cannot be opened.
    """
    told, digest = _told(manifest)
    checkpoint = open_checkpoint(given, revision) if given else _named(told, manifest.source.get("revision"), listener)
    if checkpoint.known_digest() is None:
        size = size_text(sum(info.nbytes for info in checkpoint.tensors.values()))
        listener.note(f"reads the source once, {size}, to see that it is the one the package names")
    if checkpoint.digest != digest:
        raise UncheckableError(
            f"{given or shown(told)} is not the source that the package names: its digest is {checkpoint.digest[:16]}, "
            f"the package names {digest[:16]}; give --source the checkpoint it was made of"
        )
    return as_told(checkpoint, manifest)


def as_told(checkpoint: Checkpoint, manifest: Manifest) -> Checkpoint:
    """The same under the name and with the prompt that it was converted with: both stand in what was made."""
    source = manifest.source
    return dataclasses.replace(
        checkpoint, id=source["id"], revision=source.get("revision"), prompt_name=manifest.prompt
    )


def _told(manifest: Manifest) -> tuple[str, str]:
    """The source's id and digest, and a prompt that is known."""
    told, digest, revision = (manifest.source.get(key) for key in ("id", "digest", "revision"))
    if not isinstance(told, str) or not told or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ArtifactError("the manifest names no source with a digest")
    if revision is not None and not isinstance(revision, str):
        raise ArtifactError("the manifest's source has no revision that could be one")
    if manifest.prompt not in PROMPTS:
        raise ArtifactError(f"the manifest names a prompt that is none: {shown(str(manifest.prompt))!r}")
    return told, digest


def _named(told: str, revision: Any, listener: Listener) -> Checkpoint:
    """The source by the manifest's own words, which never lead to a path of this machine."""
    if told == MODEL_NAME and revision is None:
        return open_checkpoint(MODEL_NAME)
    if not (HUB_ID.fullmatch(told) and revision and _COMMIT.fullmatch(revision)):
        raise UncheckableError(
            f"the package was made of a folder called {shown(told)!r}; give it with --source to check against it"
        )
    listener.note(f"takes {told} at {revision[:12]} from the Hub's cache, or fetches it whole")
    with uncheckable():
        return open_from_hub(told, revision)


def on_hub(manifest: Manifest) -> tuple[str, str] | None:
    """Name and commit of a source on the Hub that is not whole in its cache here; ``None`` for any other."""
    told, revision = _told(manifest)[0], manifest.source.get("revision")
    if not (HUB_ID.fullmatch(told) and revision and _COMMIT.fullmatch(revision)) or cached(told, revision):
        return None
    return told, revision


def texts_of(manifest: Manifest, given: str | None) -> CalibrationTexts:
    """The calibration texts of a package, known by their digest.

    Raises:
        UncheckableError: they are not at hand, or are others.
        WorkbenchError: what was given cannot be read.
    """
    told = manifest.details.get("calibration")
    told = told if isinstance(told, dict) else {}
    if given is None and told.get("source") != BUNDLED:
        raise UncheckableError(
            f"the package was calibrated on {shown(str(told.get('source')))!r}; give that with --calibration"
        )
    texts = load_calibration(given, PROMPTS[manifest.prompt])
    if texts.digest != told.get("texts_sha256"):
        raise UncheckableError(
            "these are not the texts that the package was calibrated on; give the same source with --calibration"
        )
    return texts
