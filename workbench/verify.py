"""``workbench verify``: is this package what it says it is, and does it do no harm?

A package names itself by digests: the manifest lists every file, the provenance names the manifest, and is made again
from it byte by byte, the signature covers all. So an altered bit anywhere is found without trust in anybody; who alters
a file and all that speaks of it is found by the signature alone, or by making tensors again from the source
(``--rederive``). Everything here takes the package for an attacker's: it is walked without following links, every file
is read within bounds, and nothing of it is run.

    python -m workbench verify artifacts/sqlcoder-nano/gguf-q4_k_m --public-key key.pub
    python -m workbench verify me/sqlcoder-gguf --recipe gguf-q4_k_m --rederive 59
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import Manifest, sha256_file
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check, require_passed
from workbench.errors import ArtifactError, PrerequisiteError, VerificationError, WorkbenchError
from workbench.hub_layout import HUB_ID
from workbench.package_files import MANIFEST, UNLISTED
from workbench.package_layout import Found, layout_faults, scan
from workbench.progress import SILENT, Listener
from workbench.sizes import size_text
from workbench.untrusted_files import WEIGHTS, check_file
from workbench.untrusted_manifest import read_manifest
from workbench.verify_proof import Evidence, proof_checks
from workbench.verify_summary import summary

MOST_LINES = 10


@dataclass(frozen=True)
class VerifyRequest:
    """What the user asked to be verified.

    Attributes:
        target: a folder, or ``org/name`` on the Hub.
        recipe: which package of a repository that holds several.
        revision: branch, tag or commit of a repository.
        public_key: file of the key that the signature must be of.
        identity: who must have signed, by Sigstore's certificate.
        issuer: who vouches for that identity.
        rederive: how many tensors to make again from the source.
        source: folder or Hub id to make them from; none means the one that the manifest names.
        calibration: texts the weights were fitted to, where these are not the bundled ones.
        seed: of the choice of tensors; none means by chance.
    """

    target: str
    recipe: str | None = None
    revision: str | None = None
    public_key: Path | None = None
    identity: str | None = None
    issuer: str | None = None
    rederive: int = 0
    source: str | None = None
    calibration: str | None = None
    seed: int | None = None


def verify(request: VerifyRequest, listener: Listener = SILENT) -> tuple[Check, ...]:
    """Verify a package, and tell what was found, a line each, and what it proves.

    Args:
        request: which package, and against what.
        listener: hears every check and the summary.

    Returns:
        The checks; none of them failed.

    Raises:
        VerificationError: a check failed, or tensors that were to be made again could not be.
        WorkbenchError: the target is neither a folder nor a repository, or a key cannot be used.
    """
    with _brought(request, listener) as (folder, of_hub):
        listener.step(f"Verify {request.target}")
        checks = verify_folder(folder, request, listener, must_be_package=of_hub)
        if request.rederive:
            checks += (_rederived(folder, request, checks, listener),)
    for check in checks:
        first, *more = check.detail.splitlines() or [""]
        listener.note(f"{check.name:<13} {check.status:<12} {first}")
        for line in more:
            listener.note(f"{'':<26} {line}")
    listener.step(summary(checks))
    require_passed(checks, request.target)
    if request.rederive:
        _require_made(checks[-1])
    return checks


def _require_made(check: Check) -> None:
    """Who asks for tensors to be made again must not take a package for checked of which none could be.

    Raises:
        VerificationError: none were made, or they prove nothing here.
    """
    if check.status == NOT_CHECKED:
        raise VerificationError(f"the {check.name} you asked for was not made: {check.detail.splitlines()[0]}")


@contextmanager
def _brought(request: VerifyRequest, listener: Listener) -> Iterator[tuple[Path, bool]]:
    """The package's folder, and whether it was fetched; a folder that is there goes before a repository."""
    if _is_there(Path(request.target)):
        yield Path(request.target), False
        return
    if not HUB_ID.fullmatch(request.target):
        raise WorkbenchError(f"{request.target} is no folder here and no repository; give a package's or OWNER/NAME")
    from workbench.pull import PullRequest, pull

    with tempfile.TemporaryDirectory(prefix="workbench-verify-") as place:
        to = Path(place) / "package"
        pull(PullRequest(request.target, revision=request.revision, recipe=request.recipe, to=to), listener)
        yield to, True


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False


def _rederived(folder: Path, request: VerifyRequest, checks: tuple[Check, ...], listener: Listener) -> Check:
    """The check by making tensors again, for a package that is otherwise in order."""
    from workbench.rederive import NAME, RederiveRequest, rederive

    if any(check.status == FAILED for check in checks):
        return Check(NAME, NOT_CHECKED, "first, nothing else may be wrong")
    asked = RederiveRequest(request.rederive, source=request.source, calibration=request.calibration, seed=request.seed)
    return rederive(folder, asked, listener)


def verify_folder(
    folder: Path, request: VerifyRequest, listener: Listener = SILENT, must_be_package: bool = False
) -> tuple[Check, ...]:
    """Look at a package in every way that is possible from here.

    Args:
        folder: the package; nothing in it is changed.
        request: whose signature to expect, and how much to make again.
        listener: hears how far hashing is.
        must_be_package: whether an artifact that was never packaged fails, as one from the Hub must: an attacker could
            have taken away what vouches for it.

    Returns:
        One check for each thing that was looked at, in order; what could not be looked at says so.

    Raises:
        ArtifactError: the folder holds no manifest at all.
        PrerequisiteError, WorkbenchError: a key cannot be used, or a library for it is missing.
    """
    folder = folder.resolve()
    found = _scanned(folder)
    try:
        manifest = read_manifest(folder / MANIFEST)
    except ArtifactError as error:
        return (
            _check("layout", found.faults, "no links, no devices"),
            Check("manifest", FAILED, str(error)),
            *(Check(name, NOT_CHECKED, "without a manifest that can be read") for name in ("digests", "contents")),
        )
    listed = [entry.path for entry in manifest.files]
    layout = _check("layout", layout_faults(found, listed), f"{len(found.sizes)} plain files, all of them listed")
    digests, known = _digests(folder, manifest, found, listener)
    return (
        layout,
        Check("manifest", PASSED, f"of {manifest.name} of {manifest.model}; agrees with itself"),
        digests,
        *_contents(folder, found, {*listed, *UNLISTED}),
        *proof_checks(Evidence(folder, manifest, found.sizes, known), request, must_be_package),
    )


def _scanned(folder: Path) -> Found:
    try:
        found = scan(folder)
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be listed ({error.strerror}); give a package's folder") from error
    if MANIFEST not in found.sizes:
        raise ArtifactError(f"{folder} is no package (it holds no plain file {MANIFEST}); give the folder of one")
    return found


def _check(name: str, faults: list[str], passed: str) -> Check:
    if not faults:
        return Check(name, PASSED, passed)
    more = [f"and {len(faults) - MOST_LINES} more"] if len(faults) > MOST_LINES else []
    return Check(name, FAILED, "\n".join([*faults[:MOST_LINES], *more]))


def _digests(folder: Path, manifest: Manifest, found: Found, listener: Listener) -> tuple[Check, dict[str, str]]:
    """Whether every listed file is the one that was packaged, and the digests that were computed."""
    faults, known = [], {}
    total, done = sum(entry.bytes for entry in manifest.files), 0
    for entry in manifest.files:
        size = found.sizes.get(entry.path)
        told = f"{entry.path} is not the file that was packaged"
        if size != entry.bytes:
            what = "it is missing" if size is None else f"{entry.bytes} bytes expected, {size} found"
            faults.append(f"{told}: {what}")
            continue
        try:
            known[entry.path] = sha256_file(folder / entry.path)
        except OSError as error:
            faults.append(f"{entry.path} cannot be read ({error.strerror})")
            continue
        if known[entry.path] != entry.sha256:
            faults.append(f"{told}: sha256 {entry.sha256} expected, {known[entry.path]} found")
        done += entry.bytes
        listener.advance("bytes", done, total)
    passed = f"{len(manifest.files)} files, {size_text(total)}, are those that the manifest lists (sha256)"
    return _check("digests", faults, passed), known


def _contents(folder: Path, found: Found, names: Collection[str]) -> tuple[Check, ...]:
    """Weights, and everything else: each file looked at as what its name says; strays have failed already."""
    weights: list[str] = []
    others: list[str] = []
    unread = ""
    for name in filter(names.__contains__, found.sizes):
        try:
            check_file(folder, name, found.sizes)
        except OSError as error:
            others.append(f"{name} cannot be read ({error.strerror})")
        except ArtifactError as error:
            (weights if name.endswith(WEIGHTS) else others).append(str(error))
        except PrerequisiteError as error:
            unread = str(error)
    safe = "no pickles, programs or archives; configs ask for no code, templates write prompts and no more"
    first = _check("weights", weights, "headers within bounds, every tensor inside its file and of its own")
    if unread and first.status == PASSED:
        first = Check("weights", NOT_CHECKED, unread)
    return (first, _check("contents", others, safe))
