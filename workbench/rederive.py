"""Was anything altered? Some tensors of a package, made again from the named source and compared byte for byte.

A digest says that a file is the one its maker listed; it says nothing of a maker who lies, or of somebody who altered
the weights and redid every digest. Making the package again says it, and takes the source, the recipe and, for a large
model, hours and disk. A sample will do: tensors are drawn at random, each is made again by the code that wrote it and
compared with the bytes at its place in the file. ``workbench/rederive_draw.py`` tells what that proves; the heads of
the files, config and tokenizer are small and always compared. Nothing is written but small files in a temporary folder,
and a few megabytes of the weights are in memory at a time.

Rounding to nearest has the same bytes on every machine. What is fitted to calibration texts (GPTQ, importance matrices)
rests on sums of floats, whose last bits depend on the processor's kernels: on another processor than the maker's such a
part may differ honestly, which is said, with how far it is off, as *not checked*.

    python -m workbench verify artifacts/sqlcoder-nano/gguf-q4_k_m --rederive 59
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Artifact, Manifest, open_artifact, sha256_file
from workbench.calibration import CalibrationRequest
from workbench.checkpoint import Checkpoint
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check
from workbench.errors import ArtifactError, PrerequisiteError, StorageError, WorkbenchError
from workbench.formats._draft import Draft
from workbench.formats.base import ConversionContext, Format, Options
from workbench.machine import processor_label
from workbench.making import make_artifact, tool_versions
from workbench.package_files import check_names
from workbench.plugins import missing_library
from workbench.progress import SILENT, Listener
from workbench.recipe import Recipe
from workbench.rederive_compare import Comparison
from workbench.rederive_draw import draw, new_seed, statement
from workbench.rederive_small import fact_faults, is_described, made_small, small_faults, unknown_files
from workbench.rederive_source import UncheckableError, recipe_of, shown, source_of, texts_of
from workbench.sizes import size_text

NAME = "re-derivation"
MOST_FAULTS = 5  # told of; the others are counted


@dataclass(frozen=True)
class RederiveRequest:
    """What the user asked to be made again.

    Attributes:
        count: of tensors; all where there are no more.
        source: the checkpoint the package was made of, a folder or Hub id; ``None`` means what its manifest names.
        revision: of a Hub id.
        calibration: the texts it was calibrated on; ``None`` means what its manifest names, if that is bundled.
        seed: of the draw; ``None`` makes one.
    """

    count: int
    source: str | None = None
    revision: str | None = None
    calibration: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class _Claim:
    """What a package says of itself, and what is needed to look at it."""

    artifact: Artifact
    checkpoint: Checkpoint
    recipe: Recipe
    weights: Format[Options]
    options: Options
    context: ConversionContext


def rederive(folder: Path, request: RederiveRequest, listener: Listener = SILENT) -> Check:
    """Make some of a package's tensors again and compare them.

    Args:
        folder: of the package.
        request: how many, from what.
        listener: hears what is read and made.

    Returns:
        Passed, with what that proves; failed, with what differs; or not checked, with what was missing.

    Raises:
        WorkbenchError: what was asked for cannot be: no count, a source or texts that cannot be opened.
    """
    if request.count < 1:
        raise WorkbenchError(f"--rederive {request.count} re-derives nothing; give the number of tensors, such as 59")
    listener.step(f"Re-derive tensors of {folder.name}")
    try:
        claim = _claim(folder, request, listener)
        if claim.weights.parts_stand_alone(claim.options):
            return _compare_parts(claim, request, listener)
        return _compare_whole(claim, request, listener)
    except (UncheckableError, PrerequisiteError) as error:
        return Check(NAME, NOT_CHECKED, str(error))
    except ArtifactError as error:
        return Check(NAME, FAILED, str(error))


def _claim(folder: Path, request: RederiveRequest, listener: Listener) -> _Claim:
    """Everything the manifest names, opened and found to be what it names."""
    artifact = open_artifact(folder)
    manifest = artifact.manifest
    recipe, weights, options = recipe_of(manifest)
    missing = missing_library(weights.requires)
    if missing:
        raise PrerequisiteError(f"making {recipe.name} again {missing}")
    checkpoint = source_of(manifest, request.source, request.revision, listener)
    calibrated = weights.wants_calibration(options)
    context = ConversionContext(
        calibration=texts_of(manifest, request.calibration).texts if calibrated else (),
        progress=lambda done, total, what: listener.advance(what, done, total),
        device=_device(manifest) if calibrated else None,
    )
    return _Claim(artifact, checkpoint, recipe, weights, options, context)


def _device(manifest: Manifest) -> str:
    """Where the package's calibrated parts were computed, if that can be done here too."""
    device = manifest.details.get("device", "cpu")
    if device not in ("cpu", "cuda"):
        raise ArtifactError(f"the manifest names a device that is none: {shown(str(device))!r}")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UncheckableError("the package was calibrated on a CUDA GPU and there is none here; check it on one")
    return str(device)


def _compare_parts(claim: _Claim, request: RederiveRequest, listener: Listener) -> Check:
    """A sample of the tensors, and all that is small."""
    draft, manifest = _draft(claim), claim.artifact.manifest
    comparison = Comparison(draft, claim.artifact.path)
    comparison.heads()
    with _as_named():
        small = made_small(draft)
    weight_bytes = sum(file.stat().st_size for file in claim.weights.weight_files(claim.artifact.path))
    faults = [
        *comparison.faults,
        *small_faults(claim.artifact, draft, small),
        *fact_faults(manifest, claim.checkpoint, small, weight_bytes),
    ]
    if faults:
        return Check(NAME, FAILED, _told(faults, claim))
    seed = new_seed() if request.seed is None else request.seed
    drawn = draw(comparison.units, request.count, seed)
    if claim.context.calibration:
        listener.note(_cost(claim))
    with _as_named():
        comparison.parts(
            [*comparison.shared, *drawn],
            claim.context.threads,
            lambda done, total: listener.advance("tensors made again", done, total),
        )
    return _differing(claim, comparison) or Check(NAME, PASSED, _passed(claim, comparison, len(drawn), seed))


def _passed(claim: _Claim, comparison: Comparison, drawn: int, seed: int) -> str:
    units = len(comparison.units)
    same = [name for name in comparison.shared if name.rpartition("/")[2] not in comparison.apart]
    beside = f", {' and '.join(name.rpartition('/')[2] for name in same)}" if same else ""
    return (
        f"{drawn} of {units} tensors (a quantized layer's count as one), made again from {shown(claim.checkpoint.id)} "
        f"by {claim.recipe.name}, have the same bytes, as have the files' heads{beside}, config and tokenizer "
        f"({size_text(comparison.nbytes)} of weights compared); {statement(units, drawn)}; "
        f"--seed {seed} repeats the draw{_rounding(claim, comparison)}{_other_tools(claim)}"
    )


def _rounding(claim: _Claim, comparison: Comparison) -> str:
    """What differs by rounding only, as the end of a sentence."""
    told = "; ".join(f"{name}: {one.told}" for name, one in comparison.apart.items())
    return f"; {told} ({_places(claim)})" if told else ""


def _differing(claim: _Claim, comparison: Comparison) -> Check | None:
    """Tensors that are others: altered, unless their sums may honestly differ here; ``None`` where all is well."""
    apart = comparison.apart
    faults = [*comparison.faults, *(f"{name}: {one.told}" for name, one in apart.items())]
    told = _told(faults, claim)
    if comparison.faults or any(one.kind == "altered" for one in apart.values()) or (apart and _same_place(claim)):
        return Check(NAME, FAILED, told)
    if any(one.kind == "doubtful" for one in apart.values()):
        return Check(NAME, NOT_CHECKED, f"{_places(claim)}, so what was fitted there cannot be told here\n{told}")
    return None


def _places(claim: _Claim) -> str:
    made_on = claim.artifact.manifest.details.get("made_on", "a processor that the manifest does not name")
    return f"made on {shown(str(made_on))} and again on {_here(claim)}, where sums of floats end in other bits"


def _same_place(claim: _Claim) -> bool:
    """Whether what was computed on the maker's machine has the same bytes on this one."""
    return claim.artifact.manifest.details.get("made_on") == _here(claim) and not _other_tools(claim)


def _here(claim: _Claim) -> str:
    return processor_label(claim.context.device or "cpu")


def _other_tools(claim: _Claim) -> str:
    """How the tools differ from the maker's, as the end of a sentence; empty where they are the same."""
    told, here = claim.artifact.manifest.tool_versions, tool_versions(claim.weights.libraries)
    others = [
        f"{name} {shown(str(told.get(name)))} (here {here[name]})" for name in here if told.get(name) != here[name]
    ]
    return f"; the package was made with {', '.join(others)}" if others else ""


def _told(faults: Sequence[str], claim: _Claim) -> str:
    """Faults, a line each, and what else may be their reason."""
    lines = list(faults[:MOST_FAULTS])
    if len(faults) > MOST_FAULTS:
        lines.append(f"and {len(faults) - MOST_FAULTS} more")
    others = _other_tools(claim)
    if others:
        lines.append(f"check with the same tools to tell an alteration from a change of theirs{others}")
    return "\n".join(lines)


def _cost(claim: _Claim) -> str:
    """What a pass of the calibration texts takes at most, predicted."""
    threads = claim.context.threads
    work = claim.weights.build_work(claim.checkpoint, claim.options, threads)
    return (
        "passes the calibration texts through the model up to the last layer that was drawn, at most about "
        f"{math.ceil(work.core_s / threads)} s with {size_text(work.ram_bytes)} of memory (predicted)"
    )


def _draft(claim: _Claim) -> Draft:
    """The conversion laid out; its files' names are made of what the manifest says."""
    with _as_named():
        draft = claim.weights.draft(claim.checkpoint, claim.options, claim.context)
    try:
        check_names(file.name for file in draft.files)
    except ValueError as error:
        raise ArtifactError(f"the manifest's source gives a weight file no name: {shown(str(error))}") from error
    return draft


@contextmanager
def _as_named() -> Iterator[None]:
    """A format that refuses the source and the options shows that they are not how the package was made."""
    try:
        yield
    except (PrerequisiteError, StorageError):
        raise
    except WorkbenchError as error:
        raise ArtifactError(f"the source and the recipe cannot have made this: {shown(str(error))}") from error


def _compare_whole(claim: _Claim, request: RederiveRequest, listener: Listener) -> Check:
    """The whole conversion made again, where its parts cannot be; all files compared."""
    listener.note(f"{claim.recipe.name} tunes all tensors together: the whole conversion is made again")
    manifest = claim.artifact.manifest
    with tempfile.TemporaryDirectory(prefix="workbench-rederive-") as place, _as_named():
        calibration = CalibrationRequest(request.calibration)
        made = make_artifact(claim.checkpoint, claim.recipe, Path(place) / "again", listener, calibration=calibration)
    again = {entry.path: entry.sha256 for entry in made.artifact.manifest.files}
    faults = [
        f"{name} is not what the source and the recipe give"
        for name, digest in again.items()
        if (not is_described(manifest, name) and not (claim.artifact.path / name).is_file())
        or sha256_file(claim.artifact.path / name) != digest
    ]
    others = unknown_files(manifest, again)
    faults += [f"{shown(name)} is no file that the recipe makes or a package holds" for name in others]
    if faults:
        honest = not others and not _same_place(claim)
        return Check(NAME, NOT_CHECKED if honest else FAILED, _told(faults, claim))
    return Check(
        NAME,
        PASSED,
        f"all {len(again)} files, made again from {shown(claim.checkpoint.id)} by {claim.recipe.name}, "
        "have the same bytes",
    )
