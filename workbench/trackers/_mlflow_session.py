"""Reaching an MLflow store: which one, quietly, and with its failures told in one sentence without credentials.

A store is named by an explicit URI, else ``MLFLOW_TRACKING_URI``, else a SQLite database in the output folder. MLflow
reads its settings from the environment only, logs much that nobody can act on, and puts whole URIs, passwords
included, into its errors. Example::

    uri = resolve_uri(None, Path("artifacts"))  # sqlite:////.../artifacts/mlflow.db
    with quiet(), user_errors(uri, store), speaking_to(uri):
        client = connect(uri)
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.addresses import without_login
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.storage import storage_error

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
_DATABASES = ("postgresql", "mysql", "mssql")
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own defaults try for about four minutes; a user at a terminal waits for the answer.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Its pages need none of the seven worker processes that it starts for agents' traces (2 GB of memory).
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_SECRETS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME")
_SHORTEST_SECRET = 4  # a shorter one would cut pieces out of ordinary words


def resolve_uri(tracking_uri: str | None, store: Path) -> str:
    """The explicit URI, else ``MLFLOW_TRACKING_URI``, else the SQLite store in ``store``."""
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(store)


def local_uri(store: Path) -> str:
    """The SQLite database in ``store``."""
    return f"sqlite:///{store.resolve() / DATABASE_NAME}"


def is_server(uri: str) -> bool:
    """Whether an MLflow server is spoken to, which has pages and files of its own."""
    return uri.startswith(("http://", "https://"))


def is_there(uri: str) -> bool:
    """Whether a store can be there: a SQLite file that is not would be made by asking."""
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()


def public_uri(text: str) -> str:
    """A URI, or a sentence with URIs in it, without user names, passwords, query strings and MLflow's own tokens."""
    public = without_login(text)
    for name in _SECRETS:
        secret = os.environ.get(name, "")
        if len(secret) >= _SHORTEST_SECRET:
            public = public.replace(secret, "***")
    return public


def apply_settings() -> None:
    """MLflow reads the environment only; what the user has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No telemetry, no migration log, no deprecation warnings on the user's terminal."""
    apply_settings()
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401 - its import sets the levels of its loggers

        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def user_errors(uri: str, store: Path, refused: str = "take the build") -> Iterator[None]:
    """MLflow's, the database's and the network's errors as one sentence without credentials.

    Args:
        uri: of the store.
        store: folder of the reports.
        refused: what MLflow was asked to do, after "did not".
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    where, kept = public_uri(uri), f"the report itself is in {store}"
    try:
        yield
    except ModuleNotFoundError as error:
        raise PrerequisiteError(
            f"the tracking URI {where} needs the database driver {error.name}; run: pip install {error.name}; {kept}"
        ) from error
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, RequestException) and uri == local_uri(store):
            raise storage_error(error, store) from error
        reason = public_uri(str(error)).strip().splitlines() or [type(error).__name__]
        raise WorkbenchError(
            f"MLflow at {where} did not {refused} ({reason[0][:300]}); check --tracking-uri and its login, "
            f"or leave it out to record locally; {kept}"
        ) from error


@contextlib.contextmanager
def speaking_to(uri: str) -> Iterator[None]:
    """The URI in MLflow's environment: parts of a client ask there which store it is, whatever it was made with."""
    name = "MLFLOW_TRACKING_URI"
    before = os.environ.get(name)
    os.environ[name] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def connect(uri: str) -> MlflowClient:
    """A client of the store; a local one is made when it is not there."""
    from mlflow import MlflowClient

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    elif uri.startswith(_DATABASES):
        _knock(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def everything(search: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
    """All that a search of MLflow's client finds: the store itself hands out a page at a time.

    Args:
        search: a method of the client that takes ``page_token``.
        arguments: of the search.
        options: likewise, ``max_results`` of one page among them.
    """
    found: list[Any] = []
    token = None
    while True:
        page = search(*arguments, **options, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _knock(uri: str) -> None:
    """Connect once: MLflow itself would try a database that is not there for more than a minute, silently."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    engine.connect().close()
    engine.dispose()


def files_of(uri: str, store: Path) -> str | None:
    """Where a new experiment keeps its files: beside a database in ``store``; a server decides for itself."""
    return (store.resolve() / ARTIFACTS_NAME).as_uri() if uri.startswith(("sqlite:", *_DATABASES)) else None
