"""Checkpoints on the Hugging Face Hub: headers by range request to plan, whole files to build.

A plan needs the config and the tensors' names, shapes and types, a few hundred kilobytes of a 31 GB repository; the
Hub serves them by HTTP range requests (huggingface.co/docs/safetensors/metadata_parsing), for
``pytorch_model*.bin`` from the table at the front of each file. Everything goes by way of the Hub's cache: what is
whole there is opened without a request when there is no connection or ``HF_HUB_OFFLINE=1``.

    python -m workbench plan --profile rtx4090 --model defog/sqlcoder --revision main
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from workbench.checkpoint_files import CONFIG, SMALL_FILES, NoWeightsError, WeightFiles, find_weights
from workbench.errors import CheckpointError, StorageError, WorkbenchError
from workbench.hub_files import PartialCopy, download, open_remote
from workbench.package_files import check_names
from workbench.pickled import read_pickled_stream
from workbench.tensors import MAX_HEADER_BYTES, TensorInfo

REQUESTS = 8  # headers asked for at a time


def fetch(name: str, revision: str | None) -> tuple[Path, str]:
    """Bring config, tokenizer and weights of a repository into the Hub's local cache.

    Returns:
        Folder and commit.

    Raises:
        CheckpointError: no such repository, no right to read it, or no connection; what was fetched is kept.
        StorageError: the disk is full.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own
    from huggingface_hub.errors import OfflineModeIsEnabled

    with _user_errors(name, revision):
        folder = Path(hf_hub_download(name, CONFIG, revision=revision)).parent
        try:
            names = _listing(name, folder.name)
        except (HubError, OfflineModeIsEnabled):
            if not _is_whole(folder):
                raise
            return folder, folder.name
        for file in sorted(names.intersection(SMALL_FILES)):
            hf_hub_download(name, file, revision=folder.name)
        for file in _weights(name, folder.name, names).names:
            download(name, file, folder.name)
    return folder, folder.name


def cached(name: str, revision: str | None) -> Path | None:
    """The folder of a repository that lies whole in the Hub's local cache; nothing is asked of the Hub.

    Raises:
        CheckpointError: the name is no Hub id.
    """
    from huggingface_hub import try_to_load_from_cache

    with _user_errors(name, revision):
        config = try_to_load_from_cache(name, CONFIG, revision=revision)
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and _is_whole(folder) else None


def peek(name: str, revision: str | None) -> tuple[Path, str, list[TensorInfo] | None]:
    """Fetch a repository's config and read its tensors' headers, no weights.

    Returns:
        The cached snapshot's folder, which holds ``config.json``; the commit; the tensors (none where the repository
        holds no weights), or ``None`` where the folder holds all weights already and can be read itself.

    Raises:
        CheckpointError: as ``fetch``.
    """
    from huggingface_hub import hf_hub_download

    with _user_errors(name, revision):
        folder = Path(hf_hub_download(name, CONFIG, revision=revision)).parent
        if _is_whole(folder):
            return folder, folder.name, None
        try:
            files = _weights(name, folder.name, _listing(name, folder.name)).names
        except NoWeightsError:
            return folder, folder.name, []
        with ThreadPoolExecutor(REQUESTS) as pool:
            headers = list(pool.map(lambda file: _header(name, file, folder), files))
    return folder, folder.name, [info for header in headers for info in header]


def copy_partly(name: str, commit: str, folder: Path) -> dict[str, PartialCopy]:
    """Bring config, tokenizer and tensor headers of a repository into a folder, its weights as files full of holes.

    Args:
        name: ``org/name``.
        commit: full hash.
        folder: empty.

    Returns:
        The weight files by name: what is needed of them is to be brought before it is read.

    Raises:
        CheckpointError, StorageError: as ``fetch``.
        ValueError: a name in the repository is none for a file here.
    """
    from huggingface_hub import hf_hub_download

    with _user_errors(name, commit):
        names = _listing(name, commit)
        weights = _weights(name, commit, names)
        if not names.issuperset(weights.names):
            raise CheckpointError(f"{name} lacks weight files that its index names; tell its owner")
        index = [file for file in names if file.endswith(".index.json")]
        check_names([*weights.names, *index])
        for file in sorted({CONFIG, *names.intersection(SMALL_FILES), *index}):
            shutil.copyfile(hf_hub_download(name, file, revision=commit), folder / file)
        copies = {file: PartialCopy(name, file, commit, folder / file) for file in weights.names}
        for file, copy in copies.items():
            with copy.stream() as stream:
                _read_head(stream, folder / file)
    return copies


def bring(name: str, commit: str, copies: Mapping[str, PartialCopy], tensors: Iterable[TensorInfo]) -> None:
    """Bring some tensors' values into the files that ``copy_partly`` made.

    Raises:
        CheckpointError, StorageError: as ``fetch``.
    """
    with _user_errors(name, commit):
        for info in tensors:
            assert info.offset is not None  # read from the head of a file
            copies[info.file.name].bring(info.offset, info.nbytes)


def _read_head(stream: BufferedReader, file: Path) -> None:
    """Read what a reader of the file reads before any tensor."""
    if file.suffix == ".bin":
        read_pickled_stream(stream, file)
    else:
        length = int.from_bytes(stream.read(8), "little")
        stream.read(min(length, MAX_HEADER_BYTES))


def _listing(name: str, commit: str) -> set[str]:
    """Names of the files at the top of a repository."""
    from huggingface_hub import HfApi

    files = HfApi().model_info(name, revision=commit).siblings or []
    return {file.rfilename for file in files if "/" not in file.rfilename}


def _weights(name: str, commit: str, names: set[str]) -> WeightFiles:
    """The weight files of a repository; its index, if it has one, is fetched."""
    from huggingface_hub import hf_hub_download

    def read(index: str) -> str:
        return Path(hf_hub_download(name, index, revision=commit)).read_text(encoding="utf-8")

    return find_weights(names, read, name)


def _is_whole(folder: Path) -> bool:
    """Whether a cached snapshot holds all its weights (they are fetched last)."""
    names = {file.name for file in folder.iterdir()}
    try:
        weights = find_weights(names, lambda index: (folder / index).read_text(encoding="utf-8"), folder)
    except CheckpointError:
        return False
    return all((folder / file).is_file() for file in weights.names)


def _header(name: str, file: str, folder: Path) -> list[TensorInfo]:
    """Tensors of one weight file on the Hub, without their places."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    if file.endswith(".bin"):
        with open_remote(name, file, folder.name) as stream:
            return read_pickled_stream(stream, folder / file, places=False)
    try:
        tensors = HfApi().parse_safetensors_file_metadata(name, file, revision=folder.name).tensors
    except SafetensorsParsingError as error:
        raise CheckpointError(f"{name} has a safetensors file with a broken header ({file}); tell its owner") from error
    return [TensorInfo(tensor, info.dtype, tuple(info.shape), folder / file) for tensor, info in tensors.items()]


@contextmanager
def _user_errors(name: str, revision: str | None) -> Iterator[None]:
    """The Hub client's errors as one sentence that says what to do; its log of failed attempts is kept off."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except HFValidationError as error:
        raise CheckpointError(f"{name!r} is no Hub id; give a folder or an id such as defog/sqlcoder") from error
    except (HubError, OSError) as error:
        raise _told(name, revision, error) from error
    finally:
        logger.setLevel(level)


def _told(name: str, revision: str | None, error: Exception) -> WorkbenchError:
    """What an error of the Hub's client means to the user; its own text, which may quote URLs, is left out."""
    from huggingface_hub import errors

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk is full while {name} is fetched; make room and run again, it goes on from there")
    kind = type(error).__name__
    login = "log in with: hf auth login"
    sentences: list[tuple[tuple[type[Exception], ...], str]] = [
        (
            (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled),
            "is not in the local cache, or only in part, and the Hub cannot be reached; connect, or give --model a "
            "folder",
        ),
        ((errors.GatedRepoError,), f"is gated; accept its terms on huggingface.co/{name}, then {login}"),
        ((errors.RevisionNotFoundError,), f"has no revision {revision!r} on the Hub; give --revision one that it has"),
        ((errors.EntryNotFoundError,), "has no config.json on the Hub; it is no model in Hugging Face layout"),
    ]
    for kinds, sentence in sentences:
        if isinstance(error, kinds):
            return CheckpointError(f"{name} {sentence}")
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
        return CheckpointError(
            f"{name} cannot be fetched from the Hub ({kind}); check the name, and for a gated or private one {login}"
        )
    return CheckpointError(
        f"the connection to the Hub broke off while {name} was fetched ({kind}); run again, it goes on from there"
    )
