"""Checkpoints on the Hugging Face Hub: headers by range request to plan, whole files to build.

A plan needs the config and the tensor headers, a few hundred kilobytes of a 31 GB repository; the Hub serves
them by HTTP range requests (huggingface.co/docs/safetensors/metadata_parsing). Tokens are the Hub client's
own affair (``hf auth login``, ``HF_TOKEN``) and never pass through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import CheckpointError

# tensor: (dtype, shape, file)
Headers = dict[str, tuple[str, tuple[int, ...], str]]


def fetch(name: str, revision: str | None, patterns: Sequence[str]) -> tuple[Path, str]:
    """Bring the files of a repository that match into the Hub's local cache.

    Returns:
        Folder and commit.

    Raises:
        CheckpointError: no such repository, no right to read it, or no connection.
    """
    from huggingface_hub import snapshot_download

    with _user_errors(name):
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    return path, path.name


def peek(name: str, revision: str | None) -> tuple[Path, str, Headers]:
    """Fetch a repository's config and read its safetensors headers, no weights.

    Returns:
        Path of the cached ``config.json``, commit, and the tensors.

    Raises:
        CheckpointError: as ``fetch``, or the repository holds no safetensors.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    with _user_errors(name):
        config = Path(hf_hub_download(name, "config.json", revision=revision))
        try:
            metadata = HfApi().get_safetensors_metadata(name, revision=revision)
        except NotASafetensorsRepoError as error:
            raise CheckpointError(
                f"{name} holds no safetensors (pickled weights can run code when opened); "
                "give --revision a revision that has them"
            ) from error
        except SafetensorsParsingError as error:
            raise CheckpointError(f"{name} has a safetensors file with a broken header; tell its owner") from error
    headers: Headers = {
        tensor: (info.dtype, tuple(info.shape), file)
        for file, part in metadata.files_metadata.items()
        for tensor, info in part.tensors.items()
    }
    return config, config.parent.name, headers


@contextmanager
def _user_errors(name: str) -> Iterator[None]:
    """The Hub client's errors as one sentence that says what to do."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.errors import HTTPError as HubError  # type: ignore[attr-defined]  # its HTTP library's own

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{name} is not in the local cache and the Hub cannot be reached; connect, or give --model a folder"
        ) from error
    except HFValidationError as error:
        raise CheckpointError(f"{name!r} is no Hub id; give a folder or an id such as defog/sqlcoder") from error
    except (HubError, OSError) as error:
        raise CheckpointError(
            f"{name} cannot be fetched from the Hub ({type(error).__name__}); check the name, and for a gated or "
            "private one log in with: hf auth login"
        ) from error
