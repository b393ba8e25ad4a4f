"""Upload an artifact to the Hugging Face Hub: what its manifest lists, as it lies on disk.

An artifact that does not compute what its source computes, or that its accuracy gate refuted, does harm under a model's
name: it is refused, and ``--force`` is there for those who know why. Uploaded is what the manifest lists and
the manifest itself, so who downloads it can see what it was made from and what it is worth. What the Hub has already is
not sent again, so an upload that broke off goes on when it is started again.

    python -m workbench push artifacts/sqlcoder-nano/gguf-q4_k_m --to me/sqlcoder-nano-gguf

The token is the Hub client's own (``hf auth login``, or ``HF_TOKEN``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.artifact import MANIFEST_NAME, Artifact, open_artifact
from workbench.errors import ArtifactError, PrerequisiteError, WorkbenchError
from workbench.progress import SILENT, Listener
from workbench.report import is_refuted
from workbench.sizes import size_text

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class PushRequest:
    """What the user asked to be uploaded.

    Attributes:
        artifact: its folder.
        to: repository, ``OWNER/NAME``; made when it is not there.
        private: whether a new repository is only seen by those who may.
        force: upload what is refused otherwise.
    """

    artifact: Path
    to: str
    private: bool = True
    force: bool = False


def push(request: PushRequest, listener: Listener = SILENT) -> str:
    """Upload an artifact.

    Returns:
        The address of the commit.

    Raises:
        ArtifactError: it is not whole, does not conform, or was refuted; nothing was sent.
        PrerequisiteError: no token, or one that may not write there.
        WorkbenchError: the repository's name is none, or the connection broke off.
    """
    if not _HUB_ID.fullmatch(request.to):
        raise WorkbenchError(f"{request.to!r} is no Hub id; give --to OWNER/NAME, such as me/sqlcoder-gguf")
    artifact = open_artifact(request.artifact)
    reason = objection(artifact)
    if reason and not request.force:
        raise ArtifactError(f"{request.artifact} {reason}; give --force to upload it all the same")
    names = [MANIFEST_NAME, *(entry.path for entry in artifact.manifest.files)]
    size = sum((artifact.path / name).stat().st_size for name in names)
    listener.step(f"Upload {artifact.name} to {request.to}: {len(names)} files, {size_text(size)}")
    if reason:
        listener.note(f"uploaded by --force: it {reason}")
    elif accepted := artifact.manifest.acceptance:
        listener.note(f"its accuracy gate: {accepted['verdict']}: {accepted['reason']}")
    address = _upload(artifact, names, request)
    listener.note(address)
    return address


def objection(artifact: Artifact) -> str | None:
    """Why an artifact should not bear its model's name, as the end of a sentence; ``None`` if nothing is known."""
    manifest = artifact.manifest
    if not manifest.conformance.get("passed", True):
        return "does not compute what its source computes (see conformance in its manifest)"
    if is_refuted(manifest.acceptance):
        return f"was refuted by its accuracy gate: {manifest.acceptance['reason']}"
    return None


def _upload(artifact: Artifact, names: list[str], request: PushRequest) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    with _user_errors(request.to):
        repository = api.create_repo(request.to, private=request.private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=artifact.path,
            allow_patterns=names,
            commit_message=f"{artifact.name} of {artifact.manifest.model}, made by sqlcoder-workbench",
        )
    return str(commit.commit_url)


@contextmanager
def _user_errors(repository: str) -> Iterator[None]:
    """The Hub client's errors as one sentence that says what to do."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    try:
        yield
    except errors.HFValidationError as error:
        raise WorkbenchError(f"{repository!r} is no Hub id; give --to OWNER/NAME, such as me/sqlcoder-gguf") from error
    except errors.LocalTokenNotFoundError as error:
        raise PrerequisiteError("uploading needs a token; log in with: hf auth login") from error
    except errors.OfflineModeIsEnabled as error:
        raise PrerequisiteError("HF_HUB_OFFLINE is set; unset it to upload") from error
    except (HubError, OSError, RuntimeError) as error:  # a RuntimeError wraps what failed in an upload's own thread
        raise _told(repository, error) from error


def _told(repository: str, error: Exception) -> WorkbenchError:
    from huggingface_hub import errors

    kind = type(error).__name__
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        return PrerequisiteError(
            f"the Hub does not let you write to {repository} ({kind}); log in with a token that may: hf auth login"
        )
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
        return WorkbenchError(
            f"the Hub refuses the upload to {repository} ({kind}: {error.server_message or 'no reason'})"
        )
    return WorkbenchError(
        f"the connection to the Hub broke off while {repository} was written ({kind}); run again, it goes on from there"
    )
