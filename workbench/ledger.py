"""The ledger: what was predicted and what was then measured, artifact by artifact, in a file of the store.

One JSON object a line (``ledger.jsonl``), appended whole under a lock, so that two builds at once and a build that is
killed leave no entry half-read: a torn last line is ignored by readers and cut off by the next writer.

A plan learns from it. The ratios measured / predicted of this machine, one per artifact, widen a figure's interval
until it holds nine of ten of them; they never narrow it. Where three or more artifacts of a similar size (a quarter to
four times the weights) were measured, their median also moves the figure itself, the further the more there are: a
wrong bandwidth shows in all of them alike, while what a tiny model teaches about overheads says nothing of a large one.

    ledger = read_ledger(store, machine.label)
    for one in ledger.learnt(predictions, "llama_cpp", parameters): print(one.value, one.interval)
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeGuard

from workbench.measure import Measurement, percentile
from workbench.storage import check_writable, locked, storage_error

NAME = "ledger.jsonl"
SCHEMA_VERSION = 1
TAIL_BYTES = 512 * 1024  # of the file's end are read: some hundred artifacts, in milliseconds however long it grew
SIMILAR = 4.0  # times larger or smaller
FEWEST_SIMILAR = 3
_MIDDLE = 0.9  # of the ratios lie within the widened interval


@dataclass(frozen=True)
class Entry:
    """One artifact of one build.

    Attributes:
        at: when, ISO 8601 in UTC.
        machine: label of the machine that measured.
        profile: it was planned for.
        model: its id.
        parameters: of the model.
        recipe: name.
        runtime: engine's name.
        runtime_version: with its version.
        generation: of the engine that was predicted for.
        workbench: version.
        predictor: of the speeds; figures of another predictor teach nothing about this one's.
        figures: by name: ``predicted``, ``measured`` and the ``conditions`` both hold for.
    """

    at: str
    machine: str
    profile: str
    model: str
    parameters: int
    recipe: str
    runtime: str
    runtime_version: str
    generation: str
    workbench: str
    predictor: str
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ratio(self, name: str) -> float | None:
        """Measured over predicted, where both are known and above zero."""
        figure = self.figures.get(name, {})
        predicted, measured = (figure.get(side) for side in ("predicted", "measured"))
        return measured / predicted if _is_positive(predicted) and _is_positive(measured) else None


def _is_positive(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 < value < math.inf


@dataclass(frozen=True)
class Error:
    """How far one figure of one engine was off.

    Attributes:
        figure: its name.
        runtime: the engine.
        artifacts: measured.
        median: of measured / predicted.
        low: below which a twentieth of the ratios lie.
        high: above which a twentieth lie.
    """

    figure: str
    runtime: str
    artifacts: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ledger:
    """What was seen on one machine.

    Attributes:
        machine: its label.
        entries: the latest of each artifact, oldest first.
    """

    machine: str
    entries: tuple[Entry, ...] = ()

    def errors(self) -> list[Error]:
        """One row per engine and figure."""
        pairs = sorted({(entry.runtime, name) for entry in self.entries for name in entry.figures})
        found = (self._error(runtime, name, self.entries) for runtime, name in pairs)
        return [error for error in found if error]

    def learnt(self, predictions: Sequence[Measurement], runtime: str, parameters: int) -> tuple[Measurement, ...]:
        """Predictions with intervals as wide as the errors seen, moved by those of similar models.

        Args:
            predictions: of one artifact on the ledger's machine.
            runtime: its engine.
            parameters: of its model.
        """
        similar = [e for e in self.entries if 1 / SIMILAR <= e.parameters / parameters <= SIMILAR]
        return tuple(
            _learnt(one, self._error(runtime, one.name, self.entries), self._error(runtime, one.name, similar))
            for one in predictions
        )

    def record(self) -> dict[str, Any]:
        """As JSON values, for the plan."""
        errors = [asdict(error) for error in self.errors()]
        return {"machine": self.machine, "artifacts": len(self.entries), "errors": errors}

    def _error(self, runtime: str, name: str, entries: Sequence[Entry]) -> Error | None:
        ratios = [ratio for e in entries if e.runtime == runtime and (ratio := e.ratio(name)) is not None]
        if not ratios:
            return None
        low, high = percentile(ratios, (1 - _MIDDLE) / 2), percentile(ratios, (1 + _MIDDLE) / 2)
        return Error(name, runtime, len(ratios), median(ratios), low, high)


def _learnt(one: Measurement, seen: Error | None, similar: Error | None) -> Measurement:
    if one.value is None or one.interval is None or seen is None:
        return one
    low = min(one.interval[0], one.value * seen.low)
    high = max(one.interval[1], one.value * seen.high)
    value = one.value
    if similar and similar.artifacts >= FEWEST_SIMILAR:
        value *= similar.median ** (similar.artifacts / (similar.artifacts + 2))
        low, high = min(low, value), max(high, value)
    conditions = {**one.conditions, "ledger_artifacts": seen.artifacts}
    return replace(one, value=value, interval=(low, high), conditions=conditions)


def append(store: Path, entries: Sequence[Entry]) -> None:
    """Add entries to the store's ledger.

    Raises:
        StorageError: the disk refuses.
    """
    if not entries:
        return
    path = store / NAME
    check_writable(store)
    lines = b"".join(_line(entry) for entry in entries)
    with locked(path):
        try:
            _mend(path)
            with path.open("ab", buffering=0) as file:
                if file.write(lines) != len(lines):  # a disk that fills up takes a part
                    raise OSError(errno.ENOSPC, "no space left")
        except OSError as error:
            raise storage_error(error, path) from error


def _line(entry: Entry) -> bytes:
    return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(entry)}).encode() + b"\n"


def _mend(path: Path) -> None:
    """Cut off what a killed writer left of its last line, or end a whole line that lacks its end."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        tail, start = _tail(file)
        last = tail.rpartition(b"\n")[2]
        if not last:
            return
        if _entry(last) is not None:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            file.truncate(start + len(tail) - len(last))


def read_ledger(store: Path, machine: str, predictor: str | None = None) -> Ledger:
    """What the store's ledger tells of a machine; nothing where there is none.

    Args:
        store: folder of the ledger.
        machine: label; other machines' entries are left out.
        predictor: entries of another one are left out; ``None`` takes all.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    path = store / NAME
    try:
        with path.open("rb") as file:
            tail, start = _tail(file)
    except FileNotFoundError:
        return Ledger(machine)
    except OSError as error:
        raise storage_error(error, path) from error
    lines = tail.split(b"\n")[1 if start else 0 :]  # the first may be the end of one that began before
    mark = json.dumps(machine).encode()
    latest: dict[tuple[str, str, str], Entry] = {}
    for entry in (_entry(line) for line in lines if mark in line):
        if entry and entry.machine == machine and predictor in (None, entry.predictor):
            latest.pop((entry.model, entry.recipe, entry.profile), None)
            latest[entry.model, entry.recipe, entry.profile] = entry
    return Ledger(machine, tuple(latest.values()))


def _tail(file: Any) -> tuple[bytes, int]:
    """The end of a file and where it begins."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    return file.read(), start


def _entry(line: bytes) -> Entry | None:
    """One line's entry; ``None`` for a torn line, or one of another version."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.pop("schema_version", None) != SCHEMA_VERSION:
        return None
    if set(record) != set(Entry.__dataclass_fields__) or not isinstance(record["figures"], dict):
        return None
    if not all(isinstance(figure, dict) for figure in record["figures"].values()):
        return None
    if type(record["parameters"]) is not int or record["parameters"] <= 0:
        return None
    return Entry(**record)
