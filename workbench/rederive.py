"""Was anything altered? Some tensors of a package, made again from the named source and compared byte for byte.

A digest says that a file is the one its maker listed; it says nothing of a maker who lies, or of somebody who altered
the weights and redid every digest. Making the package again says it, and takes the source, the recipe and, for a large
model, hours and disk. A sample will do: tensors are drawn at random, each is made again by the code that wrote it and
compared with the bytes at its place in the file. ``workbench/rederive_draw.py`` tells what that proves; the heads of
the files, config and tokenizer are small and always compared. Nothing is written but what a temporary folder holds (the
small files; of a source on the Hub the tensors that were drawn), and a few megabytes are in memory at a time.

Rounding to nearest has the same bytes on every machine. What is fitted to calibration texts (GPTQ, importance matrices)
rests on sums of floats, whose last bits depend on the processor's kernels: on another processor than the maker's such a
part may differ honestly, which is said, with how far it is off, as *not checked*.

    python -m workbench verify artifacts/sqlcoder-nano/gguf-q4_k_m --rederive 59
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from workbench.artifact import sha256_file
from workbench.calibration import CalibrationRequest
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.machine import processor_label
from workbench.making import make_artifact, tool_versions
from workbench.progress import SILENT, Listener
from workbench.rederive_claim import Claim, RederiveRequest, as_named, claim_of, draft_of
from workbench.rederive_compare import Comparison
from workbench.rederive_draw import draw, new_seed, statement
from workbench.rederive_small import fact_faults, is_described, made_small, small_faults, unknown_files
from workbench.rederive_source import UncheckableError, shown
from workbench.sizes import size_text

__all__ = ["NAME", "RederiveRequest", "rederive"]

NAME = "re-derivation"
IN_PARTS = "; the source was read in parts, its files known by the digests that the Hub tells of that commit"
MOST_FAULTS = 5  # told of; the others are counted


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
        with tempfile.TemporaryDirectory(prefix="workbench-source-") as scratch:
            claim = claim_of(folder, request, listener, Path(scratch))
            if claim.weights.parts_stand_alone(claim.options):
                return _compare_parts(claim, request, listener)
            return _compare_whole(claim, request, listener)
    except (UncheckableError, PrerequisiteError) as error:
        return Check(NAME, NOT_CHECKED, str(error))
    except ArtifactError as error:
        return Check(NAME, FAILED, str(error))


def _compare_parts(claim: Claim, request: RederiveRequest, listener: Listener) -> Check:
    """A sample of the tensors, and all that is small."""
    draft, manifest = draft_of(claim), claim.artifact.manifest
    comparison = Comparison(draft, claim.artifact.path)
    comparison.heads()
    with as_named():
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
    claim.source.bring(comparison.sources([*comparison.shared, *drawn]), listener)
    with as_named():
        comparison.parts(
            [*comparison.shared, *drawn],
            claim.context.threads,
            lambda done, total: listener.advance("tensors made again", done, total),
        )
    return _differing(claim, comparison) or Check(NAME, PASSED, _passed(claim, comparison, len(drawn), seed))


def _passed(claim: Claim, comparison: Comparison, drawn: int, seed: int) -> str:
    units = len(comparison.units)
    same = [name for name in comparison.shared if name.rpartition("/")[2] not in comparison.apart]
    beside = f", {' and '.join(name.rpartition('/')[2] for name in same)}" if same else ""
    return (
        f"{drawn} of {units} tensors (a quantized layer's count as one), made again from {shown(claim.checkpoint.id)} "
        f"by {claim.recipe.name}, have the same bytes, as have the files' heads{beside}, config and tokenizer "
        f"({size_text(comparison.nbytes)} of weights compared{IN_PARTS if claim.source.copies else ''})\n"
        f"{statement(units, drawn)}\n"
        f"--seed {seed} repeats the draw{_rounding(claim, comparison)}{_other_tools(claim)}"
    )


def _rounding(claim: Claim, comparison: Comparison) -> str:
    """What differs by rounding only, as the end of a sentence."""
    told = "; ".join(f"{name}: {one.told}" for name, one in comparison.apart.items())
    return f"; {told} ({_places(claim)})" if told else ""


def _differing(claim: Claim, comparison: Comparison) -> Check | None:
    """Tensors that are others: altered, unless their sums may honestly differ here; ``None`` where all is well."""
    apart = comparison.apart
    faults = [*comparison.faults, *(f"{name}: {one.told}" for name, one in apart.items())]
    told = _told(faults, claim)
    if comparison.faults or any(one.kind == "altered" for one in apart.values()) or (apart and _same_place(claim)):
        return Check(NAME, FAILED, told)
    if any(one.kind == "doubtful" for one in apart.values()):
        return Check(NAME, NOT_CHECKED, f"{_places(claim)}, so what was fitted there cannot be told here\n{told}")
    return None


def _places(claim: Claim) -> str:
    made_on = claim.artifact.manifest.details.get("made_on", "a processor that the manifest does not name")
    return f"made on {shown(str(made_on))} and again on {_here(claim)}, where sums of floats end in other bits"


def _same_place(claim: Claim) -> bool:
    """Whether what was computed on the maker's machine has the same bytes on this one."""
    return claim.artifact.manifest.details.get("made_on") == _here(claim) and not _other_tools(claim)


def _here(claim: Claim) -> str:
    return processor_label(claim.context.device or "cpu")


def _other_tools(claim: Claim) -> str:
    """How the tools differ from the maker's, as the end of a sentence; empty where they are the same."""
    told, here = claim.artifact.manifest.tool_versions, tool_versions(claim.weights.libraries)
    others = [
        f"{name} {shown(str(told.get(name)))} (here {here[name]})" for name in here if told.get(name) != here[name]
    ]
    return f"; the package was made with {', '.join(others)}" if others else ""


def _told(faults: Sequence[str], claim: Claim) -> str:
    """Faults, a line each, and what else may be their reason."""
    lines = list(faults[:MOST_FAULTS])
    if len(faults) > MOST_FAULTS:
        lines.append(f"and {len(faults) - MOST_FAULTS} more")
    others = _other_tools(claim)
    if others:
        lines.append(f"check with the same tools to tell an alteration from a change of theirs{others}")
    return "\n".join(lines)


def _cost(claim: Claim) -> str:
    """What a pass of the calibration texts takes at most, predicted."""
    threads = claim.context.threads
    work = claim.weights.build_work(claim.checkpoint, claim.options, threads)
    return (
        "passes the calibration texts through the model up to the last layer that was drawn, at most about "
        f"{math.ceil(work.core_s / threads)} s with {size_text(work.ram_bytes)} of memory (predicted)"
    )


def _compare_whole(claim: Claim, request: RederiveRequest, listener: Listener) -> Check:
    """The whole conversion made again, where its parts cannot be; all files compared."""
    listener.note(f"{claim.recipe.name} tunes all tensors together: the whole conversion is made again")
    manifest = claim.artifact.manifest
    with tempfile.TemporaryDirectory(prefix="workbench-rederive-") as place, as_named():
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
