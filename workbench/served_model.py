"""An artifact behind MLflow's ``predict``: questions in, SQL out. MLflow loads it by this module's name.

    mlflow models serve -m "models:/sqlcoder-nano@cpu-best" --env-manager local
    curl localhost:5000/invocations -H 'Content-Type: application/json' -d '{"dataframe_records":
        [{"question": "How many cities are there?", "schema": "CREATE TABLE city (id integer, name text);"}]}'
    {"predictions": [{"sql": "SELECT COUNT(*) FROM city"}]}

A row holds ``question`` and ``schema`` (DDL), perhaps ``instructions``, and is put into the prompt the model was
trained on; or it holds a whole ``prompt``. ``beams`` and ``max_new_tokens`` are parameters of a request. What comes
back is the SQL as the workbench scores it: the first statement of the answer, nothing repaired.

The model's folder in MLflow holds no code and no pickle, only ``artifact.json``: the artifact's manifest, and where its
weights lie. Before anything is opened, every file is compared with the manifest's digests, and a file the manifest does
not know is refused as well; so what is served is what was measured, or nothing.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.artifact import MANIFEST_NAME, Artifact, manifest_of, sha256_file
from workbench.catalog import get_runtime
from workbench.errors import ArtifactError, WorkbenchError
from workbench.machine import describe
from workbench.prompt import PROMPTS, Prompt
from workbench.runtimes.base import Decoding, LoadOptions
from workbench.workload import MOST_BEAMS

MOST_ROWS = 1000
CHARACTERS_PER_TOKEN = 64  # no prompt that fits is longer; beyond that a text is not even tokenized
COLUMNS = ("question", "schema", "instructions", "prompt")


class ServedModel:
    """A loaded artifact.

    Args:
        artifact: whose files were checked.
        serving: ``prompt``, ``context``, ``beams``, ``max_new_tokens``.
        config: of the server: ``context``, ``device``, ``threads``; 0 and empty mean the default.
    """

    def __init__(self, artifact: Artifact, serving: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        runtime, machine = get_runtime(str(artifact.manifest.recipe.get("runtime"))), describe(quick=True)
        best = machine.best_device if machine.best_device in runtime.devices else "cpu"
        registered = int(serving.get("context") or 1024)
        self.context = _whole(config, "context") or registered
        limit = min(int(serving.get("max_new_tokens", 300)), registered - 1)
        self.defaults = {"beams": serving.get("beams", 1), "max_new_tokens": limit}
        self.prompt = _prompt_named(str(serving.get("prompt") or artifact.manifest.prompt))
        device, threads = str(config.get("device") or best), _whole(config, "threads") or machine.cores
        self._session = runtime.load(artifact, LoadOptions(device, self.context, threads))
        self._one_at_a_time = threading.Lock()  # an engine holds one batch; the server has a thread per request

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """SQL per row.

        Args:
            model_input: pandas DataFrame with the columns ``COLUMNS``.
            params: ``beams`` and ``max_new_tokens``.

        Returns:
            A DataFrame with the one column ``sql``.

        Raises:
            MlflowException: the request is at fault; the message says how.
        """
        import pandas as pd  # type: ignore[import-untyped]

        with _as_bad_request():
            prompts = self._prompts(model_input.to_dict(orient="records"))
            decoding = self._decoding({**self.defaults, **(params or {})})
            with self._one_at_a_time:
                answers = self._session.generate(prompts, decoding)
        return pd.DataFrame({"sql": [_sql(answer.text) for answer in answers]}, dtype=object)

    def _prompts(self, rows: Sequence[Mapping[Any, Any]]) -> list[str]:
        if not 1 <= len(rows) <= MOST_ROWS:
            raise WorkbenchError(f"{len(rows)} rows were sent; send at least one and at most {MOST_ROWS}")
        return [self._prompt(number, row) for number, row in enumerate(rows)]

    def _prompt(self, number: int, row: Mapping[Any, Any]) -> str:
        """One row as the model is to see it."""
        texts: dict[str, str] = {name: row[name] for name in COLUMNS if isinstance(row.get(name), str)}
        prompt = texts.get("prompt", "")
        if not prompt.strip():
            if not texts.get("question", "").strip() or not texts.get("schema", "").strip():
                raise WorkbenchError(f"row {number} needs a question and a schema (DDL), or a whole prompt")
            prompt = self.prompt.render(texts["schema"].strip(), texts["question"], texts.get("instructions", ""))
        if len(prompt) > self.context * CHARACTERS_PER_TOKEN:
            raise WorkbenchError(f"row {number} holds {len(prompt)} characters, too many for {self.context} tokens")
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise WorkbenchError(f"row {number} holds half of a character pair; send whole ones") from error
        return prompt

    def _decoding(self, params: Mapping[str, Any]) -> Decoding:
        beams, limit = int(params["beams"]), int(params["max_new_tokens"])
        if not 1 <= beams <= MOST_BEAMS:
            raise WorkbenchError(f"beams is {beams}; give 1 to {MOST_BEAMS}")
        if limit == self.defaults["max_new_tokens"]:  # MLflow sends the registered one where a request names none
            limit = min(limit, self.context - 1)
        if not 1 <= limit < self.context:
            raise WorkbenchError(f"max_new_tokens is {limit}; give 1 to {self.context - 1}")
        return Decoding(self.prompt.stop, limit, beams)


def _whole(config: Mapping[str, Any], name: str) -> int:
    """A whole number of the server's config, perhaps written as text; 0 where it says nothing."""
    text = str(config.get(name) or 0).strip()
    if not text.isdecimal():
        raise WorkbenchError(f"the model's config says {name}: {text!r}; give a whole number, or leave it out")
    return int(text)


def _prompt_named(name: str) -> Prompt:
    if name not in PROMPTS:
        raise ArtifactError(f"the model was made for the prompt {name!r}, unknown here; upgrade the workbench")
    return PROMPTS[name]


def _sql(text: str) -> str:
    from workbench.evals.extraction import extract_sql

    return extract_sql(text)


@contextlib.contextmanager
def _as_bad_request() -> Iterator[None]:
    """What a request can cause, as MLflow's error without a traceback, which would show this machine's paths."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except WorkbenchError as error:
        raise MlflowException.invalid_parameter_value(str(error)) from error
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        # What an engine raises at a text it cannot take: its own words may hold paths.
        raise MlflowException.invalid_parameter_value(
            f"the engine could not answer ({type(error).__name__}); send a shorter or plainer request"
        ) from error


def open_served(record: Mapping[str, Any], folder: Path) -> Artifact:
    """The artifact that a model's ``artifact.json`` names, every file compared with its digest.

    Args:
        record: the JSON values.
        folder: the model's, in which uploaded weights lie.

    Raises:
        ArtifactError: it is gone or has changed.
    """
    try:
        manifest, place = manifest_of(record["manifest"]), folder / str(record["path"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"the model's artifact.json cannot be understood ({error}); build it again") from error
    if not place.is_dir():
        raise ArtifactError(
            f"the weights of {manifest.name} are no longer at {place}; build it again, or with --log-weights to keep "
            "them in MLflow"
        )
    found = {file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()} - {MANIFEST_NAME}
    wanted = {entry.path: entry for entry in manifest.files}
    if strange := sorted(found - set(wanted)):
        raise ArtifactError(f"{place / strange[0]} does not belong to {manifest.name}; remove it or build again")
    for name, entry in wanted.items():
        if name not in found or sha256_file(place / name) != entry.sha256:
            raise ArtifactError(f"{place / name} is not what was registered; build {manifest.name} again")
    return Artifact(place, manifest)


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedModel:
    """MLflow's entry point.

    Args:
        path: of ``artifact.json`` in the model's folder.
        model_config: see ``ServedModel``.

    Raises:
        MlflowException: one sentence, where the artifact is gone, has changed or cannot run here.
    """
    from mlflow.exceptions import MlflowException

    try:
        file = Path(path)
        record = _record(file)
        return ServedModel(open_served(record, file.parent), record.get("serving", {}), model_config or {})
    except WorkbenchError as error:
        raise MlflowException.invalid_parameter_value(str(error)) from None


def _record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"the model's {file.name} cannot be read ({error}); build it again") from error
    if not isinstance(record, dict):
        raise ArtifactError(f"the model's {file.name} cannot be understood; build it again")
    return record
