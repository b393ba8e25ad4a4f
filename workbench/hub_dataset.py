"""One file of a data set on the Hugging Face Hub, to calibrate on: found by its name, fetched, no code run.

Data sets lie on the Hub as Parquet, JSON Lines, CSV or text files whose names tell the split (``train-00000-of-00002
.parquet``). Of the wanted part the first file is taken: a few hundred texts are enough to calibrate on. Data sets that
are made by a script have their data, converted by the Hub, in the branch ``refs/convert/parquet``.

Files go by way of the Hub's cache and are found there when there is no connection or ``HF_HUB_OFFLINE=1``.

Example::

    file, place = fetch_data("b-mc2/sql-create-context@main:train")
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from workbench.errors import CheckpointError, StorageError, WorkbenchError

# In this order where a data set has several; all but the last hold records.
KINDS = (".parquet", ".jsonl", ".json", ".csv", ".txt")
DEFAULT_PART = "train"
# Files that describe the data or the repository.
_BESIDE = re.compile(r"(^|/)(dataset_infos?|dataset_dict|state|license|requirements|readme)\b[^/]*$", re.IGNORECASE)


def fetch_data(spec: str) -> tuple[Path, str]:
    """Bring a data set's file into the Hub's cache.

    Args:
        spec: ``owner/name``, ``@revision`` and ``:part`` behind it where wanted. The part is a split or any other piece
            of a file's path, such as ``wikitext-2-raw-v1/train``; without it the training split is taken, or what
            there is.

    Returns:
        The file, and what names it for good: ``owner/name@commit/file``.

    Raises:
        CheckpointError: no such data set, revision or part, no right to read it, or no connection.
    """
    from huggingface_hub import hf_hub_download

    name, revision, part = parse(spec)
    with _user_errors(name, revision):
        chosen = choose(_listing(name, revision), part)
        if chosen is None:
            lacking = f"has no {', '.join(KINDS)} file" + (f" for {part!r}" if part else "")
            raise CheckpointError(
                f"data set {name} {lacking}; name a part after a colon, or try {name}@refs/convert/parquet"
            )
        path = Path(hf_hub_download(name, chosen, repo_type="dataset", revision=revision))  # the cache notes the branch
    commit = path.parts[-1 - len(PurePosixPath(chosen).parts)]
    return path, f"{name}@{commit}/{chosen}"


def parse(spec: str) -> tuple[str, str | None, str | None]:
    """Name, revision and part of ``owner/name@revision:part``."""
    whole, _, part = spec.partition(":")
    name, _, revision = whole.partition("@")
    return name, revision or None, part or None


def choose(files: list[str], part: str | None) -> str | None:
    """The first file of the part, by kind and name; ``None`` where there is none."""
    data = [file for file in files if _kind(file) is not None and not _BESIDE.search(file)]
    wanted = [file for file in data if (part or DEFAULT_PART) in file]
    found = wanted if part or wanted else data
    return min(found, key=lambda file: (_kind(file), file), default=None)


def _kind(file: str) -> int | None:
    suffix = PurePosixPath(file.lower().removesuffix(".gz")).suffix
    return KINDS.index(suffix) if suffix in KINDS else None


def _listing(name: str, revision: str | None) -> list[str]:
    """Files of a data set; without a connection, of what the cache holds of it."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    try:
        info = HfApi().dataset_info(name, revision=revision)
    except HfHubHTTPError:
        raise  # the Hub was reached and says no
    except (HubError, OfflineModeIsEnabled):
        folder = Path(snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True))
        return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return [file.rfilename for file in info.siblings or []]


@contextmanager
def _user_errors(name: str, revision: str | None) -> Iterator[None]:
    """The Hub client's errors as one sentence; its own text, which may quote URLs, is left out."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    try:
        yield
    except HFValidationError as error:
        raise CheckpointError(f"{name!r} is no data set's name; give --calibration a file or owner/name") from error
    except (HubError, OSError) as error:
        raise _told(name, revision, error) from error


def _told(name: str, revision: str | None, error: Exception) -> WorkbenchError:
    """What an error of the Hub's client means to the user."""
    from huggingface_hub import errors

    login = "log in with: hf auth login"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk is full while data set {name} is fetched; make room and run again")
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        sentence = "is not in the local cache, and the Hub cannot be reached; connect, or give --calibration a file"
    elif isinstance(error, errors.GatedRepoError):
        sentence = f"is gated; accept its terms on its page of the Hub, then {login}"
    elif isinstance(error, errors.RevisionNotFoundError):
        sentence = f"has no revision {revision!r}; give one that it has behind the @"
    elif isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
        sentence = f"cannot be fetched from the Hub; check the name, and for a private one {login}"
    else:
        sentence = f"could not be fetched, for the connection to the Hub broke off ({type(error).__name__}); run again"
    return CheckpointError(f"data set {name} {sentence}")
