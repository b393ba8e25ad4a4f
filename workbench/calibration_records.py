"""Records of a file as calibration texts: which column is the text, or the question, the schema and the answer.

Data sets have no common names for their columns. Those known here are the usual ones, in this order:

- ``text`` or ``content``: the text itself;
- a prompt with what follows it: ``prompt`` and, where there is one, ``completion``, ``response`` or ``answer``;
- a question with its SQL, such as ``question``, ``context`` and ``answer``: rendered in the model's own prompt.

A file's first record decides for all. At most ``MOST`` records are read, for a few hundred are enough to calibrate on.

Example::

    record_texts(read_records(Path("mine.jsonl"), ".jsonl"), prompt, "mine.jsonl")
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from workbench.errors import CalibrationError, PrerequisiteError
from workbench.prompt import Prompt

MOST = 10_000
UNREADABLE = (OSError, EOFError, zlib.error)  # what a file and its compression may fail with
TEXT = ("text", "content")
PROMPT = ("prompt",)
COMPLETION = ("completion", "response", "answer")
QUESTION = ("question", "sql_prompt")
SCHEMA = ("schema", "context", "sql_context")
QUERY = ("query", "sql", "answer")

Record = Mapping[str, Any]


def read_records(path: Path, suffix: str) -> Iterator[Record]:
    """A file's first records.

    Args:
        path: of the file; ``.gz`` at its end is understood.
        suffix: one of ``SUFFIXES``.

    Raises:
        CalibrationError: the file is not what its name says.
        PrerequisiteError: Parquet cannot be read here.
    """
    return islice(SUFFIXES[suffix](path), MOST)


def record_texts(records: Iterator[Record], prompt: Prompt, where: str) -> list[str]:
    """The text of each record; empty ones are left out.

    Raises:
        CalibrationError: no column is known.
    """
    texts: list[str] = []
    make = None
    for record in records:
        make = make or _maker(record, prompt, where)
        texts.append(make(record))
    return [text for text in texts if text.strip()]


def _maker(record: Record, prompt: Prompt, where: str) -> Callable[[Record], str]:
    """How records with these columns become texts."""

    def column(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in record), None)

    def cell(record: Record, name: str | None) -> str:
        value = record.get(name) if name else None
        return "" if value is None else str(value)

    text, start, question, query = map(column, (TEXT, PROMPT, QUESTION, QUERY))
    end, schema = column(COMPLETION), column(SCHEMA)
    if text:
        return lambda record: cell(record, text)
    if start:
        return lambda record: cell(record, start) + cell(record, end)
    if question and query:
        return lambda record: prompt.render(cell(record, schema), cell(record, question)) + cell(record, query)
    raise CalibrationError(
        f"{where} has no column to calibrate on among {', '.join(map(str, record)) or 'none'}; name one text, or "
        "prompt, or two question and query"
    )


def _json_lines(path: Path) -> Iterator[Record]:
    with _opened(path) as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                yield _record(_parsed(line, path, f"line {number}"), path)


def _json(path: Path) -> Iterator[Record]:
    """One list of records, or records line by line: both go by this name."""
    with _opened(path) as handle:
        first = handle.read(1)
        while first.isspace():
            first = handle.read(1)
    if first != "[":
        yield from _json_lines(path)
        return
    with _opened(path) as handle:
        for value in _parsed(handle.read(), path, "it"):
            yield _record(value, path)


def _csv(path: Path) -> Iterator[Record]:
    with _opened(path) as handle:
        try:
            yield from csv.DictReader(handle)
        except csv.Error as error:
            raise CalibrationError(f"{path.name} is no CSV ({error}); correct it and run again") from error


def _parquet(path: Path) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise PrerequisiteError("Parquet needs pyarrow, which is not installed; run: pip install pyarrow") from error
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise CalibrationError(f"{path.name} is no Parquet file, or a damaged one; fetch it again") from error


SUFFIXES: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
}


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A text file; what cannot be read of it is told in one sentence."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
            yield handle
    except UnicodeDecodeError as error:
        raise CalibrationError(not_utf8(path, error)) from error
    except UNREADABLE as error:
        raise CalibrationError(f"{path.name} cannot be read ({error}); give --calibration a whole file") from error


def not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    """The sentence about a file that is no text."""
    return f"{path.name} is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"


def _parsed(text: str, path: Path, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CalibrationError(f"{path.name} is no JSON in {place} ({error}); correct it and run again") from error


def _record(value: Any, path: Path) -> Record:
    if not isinstance(value, dict):
        raise CalibrationError(f'{path.name} must hold records, one JSON object each, such as {{"text": "..."}}')
    return value
