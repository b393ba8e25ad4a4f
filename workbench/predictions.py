"""Predictions: a model's raw answers as a file that another machine can score, compare or go on with.

One JSON object a line (JSON Lines), one line an answer. Each line says by itself what it is, so that a file can be
grown answer by answer, cut in half by a crash, joined with another or sorted, and still be read::

    {"schema_version": 1, "question_set": "heldout", "question_id": "7", "prompt_sha256": "9f86...",
     "text": "SELECT count(*) FROM dealer", "tokens": [51, 8, 1], "model": "sqlcoder-7b-2", "engine": "...", "beams": 4}

``prompt_sha256`` is the digest of the exact prompt, schema and question included: an answer is only reused or compared
where it answers the very same text. ``error`` stands where a question got no answer. Any other key is kept as it is
(the build adds its verdicts). Read as well: the build's files of before (``id``, ``answer``) and the CSV that
defog-ai/sql-eval writes (``question``, ``db_name``, ``generated_query``), both without digests.

    write_predictions(path, [Prediction("heldout", "7", "SELECT 1", digest_of(prompt))])
    predictions = read_predictions(path)

Whether they fit a question set: ``workbench/matching.py``.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from workbench.errors import ConfigError, WorkbenchError
from workbench.storage import check_writable, storage_error

SCHEMA_VERSION = 1
_PLAIN = ("question_set", "question_id", "prompt_sha256", "text", "tokens", "error", "model", "engine", "beams")
_TEXTS = ("question_set", "prompt_sha256", "text", "error", "model", "engine")
_OLDER_NAMES = {"id": "question_id", "answer": "text", "generated_query": "text"}
_NOT_IN_CSV = (None, "tokens", "beams", "schema_version")  # None: cells beyond the header
_LARGEST_CELL = 1 << 30  # csv's own limit is 128 KiB; sql-eval's files hold whole prompts


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Attributes:
        question_set: name of the set; empty in files that do not tell it.
        question_id: of ``Question.id``; empty where ``further`` holds the ``question`` instead.
        text: as the model wrote it, nothing cut out; empty when there is an ``error``.
        prompt_sha256: ``digest_of`` the prompt; empty in files that do not tell it.
        tokens: ids of the answer's tokens; empty where the engine does not tell them.
        error: why there is no answer.
        model: name of what answered.
        engine: engine with its version, or API and address.
        beams: of the beam search; 1 is greedy.
        further: the line's other keys.
    """

    question_set: str
    question_id: str
    text: str
    prompt_sha256: str = ""
    tokens: tuple[int, ...] = ()
    error: str | None = None
    model: str | None = None
    engine: str | None = None
    beams: int | None = None
    further: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """What two answers to one question have in common: set and id, or set, database and question."""
        if self.question_id:
            return self.question_set, self.question_id
        return self.question_set, *(str(self.further.get(key) or "").strip() for key in ("db_name", "question"))


def digest_of(prompt: str) -> str:
    """Hex sha256 of a prompt's exact text in UTF-8."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def read_predictions(path: Path) -> list[Prediction]:
    """Read a predictions file: ``.csv`` as sql-eval writes it, anything else as JSON Lines.

    A half-written last line is dropped. A question's answer takes the place of an error noted before it.

    Raises:
        WorkbenchError: the file is missing or cannot be read.
        ConfigError: lines are at fault, all of them told at once.
    """
    try:
        # newline="": a quoted cell of a CSV keeps its own line ends
        with path.open(encoding="utf-8-sig", newline="") as handle:
            text = handle.read()
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"is not in UTF-8 ({error})"]) from error
    except OSError as error:
        raise WorkbenchError(f"no predictions at {path} ({error.strerror}); correct the path") from error
    records, faults = _csv_records(text) if path.suffix.lower() == ".csv" else _json_records(text)
    found: dict[tuple[str, ...], tuple[int, Prediction]] = {}
    for line, record in records:
        wrong = _record_faults(record)
        faults += [f"line {line}: {fault}" for fault in wrong]
        if not wrong:
            prediction = _prediction(record)
            first = found.setdefault(prediction.key, (line, prediction))
            if first[0] != line and not (first[1].error or prediction.error or prediction == first[1]):
                faults.append(f"line {line}: answers the question of line {first[0]} a second time")
            elif first[1].error:
                found[prediction.key] = (line, prediction)
    if faults:
        raise ConfigError(str(path), faults)
    return [prediction for _, prediction in found.values()]


def _json_records(text: str) -> tuple[list[tuple[int, Any]], list[str]]:
    """Line numbers and values, and the lines that are no JSON; a last line without its end may be cut off."""
    records, faults = [], []
    lines = text.split("\n")  # not splitlines: JSON may hold other line ends inside a string
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append((number, json.loads(line)))
        except ValueError as error:
            if number < len(lines):
                faults.append(f"line {number}: is no JSON ({error})")
    return records, faults


def _csv_records(text: str) -> tuple[list[tuple[int, Any]], list[str]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        records = [(reader.line_num, {name: row[name] for name in row if name not in _NOT_IN_CSV}) for row in reader]
    except csv.Error as error:
        return [], [f"line {reader.line_num}: is no CSV ({error})"]
    if "text" not in (named := {_OLDER_NAMES.get(name, name) for name in reader.fieldnames or ()}):
        return [], ["column 'generated_query' is missing (sql-eval's result has it)"]
    if not named & {"question", "question_id"}:
        return [], ["column 'question' is missing (sql-eval's result has it)"]
    return records, []


def _record_faults(record: Any) -> list[str]:
    """What is wrong with one line's value."""
    if not isinstance(record, dict):
        return ["is no JSON object"]
    if (version := record.get("schema_version", SCHEMA_VERSION)) != SCHEMA_VERSION:
        return [f"is of schema_version {version!r}, this workbench reads {SCHEMA_VERSION}; bring it up to date"]
    values = _with_todays_names(record)
    faults = []
    if values.get("question_id") in (None, "") and not values.get("question"):
        faults.append("names no question (question_id)")
    if "text" not in values and not values.get("error"):
        faults.append("holds no answer (text)")
    faults += [f"{key} is no text" for key in _TEXTS if not isinstance(values.get(key), str | None)]
    if not isinstance(values.get("question_id"), str | int | None):
        faults.append("question_id is neither text nor number")
    if type(values.get("beams")) not in (int, type(None)):
        faults.append("beams is no whole number")
    tokens = values.get("tokens") or []
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        faults.append("tokens is no list of whole numbers")
    return faults


def _with_todays_names(record: dict[str, Any]) -> dict[str, Any]:
    older = {new: record[old] for old, new in _OLDER_NAMES.items() if old in record and new not in record}
    return {key: value for key, value in record.items() if _OLDER_NAMES.get(key) not in older} | older


def _prediction(record: dict[str, Any]) -> Prediction:
    values = _with_todays_names(record)
    return Prediction(
        question_set=values.get("question_set") or "",
        question_id="" if (name := values.get("question_id")) is None else str(name),
        text=values.get("text") or "",
        prompt_sha256=values.get("prompt_sha256") or "",
        tokens=tuple(values.get("tokens") or ()),
        error=values.get("error"),
        model=values.get("model"),
        engine=values.get("engine"),
        beams=values.get("beams"),
        further={key: value for key, value in values.items() if key not in (*_PLAIN, "schema_version")},
    )


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write a predictions file whole, in the order given; an older one stays until the new one is there.

    Raises:
        StorageError: the disk refuses.
    """
    partial = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"".join(map(_line, predictions)))
        partial.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error


@contextmanager
def appending(path: Path) -> Iterator[Callable[[Prediction], None]]:
    """A function that adds one answer to a file, with the system when it returns; made for one thread.

    The file may be missing, or end in half a line, which is dropped.

    Raises:
        StorageError: the disk refuses; raised by the function too.
    """
    check_writable(path.parent)
    try:
        _drop_half_line(path)
    except OSError as error:
        raise storage_error(error, path) from error
    file: BinaryIO | None = None

    def add(prediction: Prediction) -> None:
        nonlocal file
        line = _line(prediction)
        try:
            file = file or path.open("ab", buffering=0)  # only now: a file without an answer would say nothing
            if file.write(line) != len(line):  # a disk that fills up takes a part
                raise OSError(errno.ENOSPC, "no space left")
        except OSError as error:
            raise storage_error(error, path) from error

    try:
        yield add
    finally:
        if file:
            file.close()


def _drop_half_line(path: Path) -> None:
    """Let a file end with a line's end: a whole line that lacks it gets it, half a line goes."""
    if not path.is_file():
        return
    content = path.read_bytes()
    last = content.rpartition(b"\n")[2]
    if not last:
        return
    with path.open("r+b") as file:
        try:
            json.loads(last)
            file.seek(0, 2)
            file.write(b"\n")
        except ValueError:
            file.truncate(len(content) - len(last))


def _line(prediction: Prediction) -> bytes:
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    record |= {key: getattr(prediction, key) for key in _PLAIN}
    kept = {key: value for key, value in record.items() if value is not None}
    text = json.dumps(kept | dict(prediction.further), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"  # half a surrogate pair becomes JSON's own escape
