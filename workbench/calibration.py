"""Which texts a model is calibrated on: questions with their answers, a file of one's own, or a data set of the Hub.

Quantizers fit weights to what the layers read, so the texts should be like those the model will see: by default the
training split of the bundled questions, each with its answer, in the model's own prompt. ``--calibration`` takes:

- a folder or CSV of questions as ``--questions`` does: rendered in the model's own prompt, with the database's schema;
- ``.jsonl``, ``.json``, ``.csv``, ``.parquet``: one text a record, from the columns that
  ``workbench/calibration_records.py`` knows;
- any other file: running text in UTF-8, cut at empty lines into pieces of about ``PIECE`` characters, so that short
  paragraphs share a piece and a long one does not lose its end;
- ``owner/name``, ``owner/name@revision``, ``owner/name:part``: a data set (``workbench/hub_dataset.py``); ``hub:``
  before it says so where a folder has the same name.

``.gz`` behind a file's name is understood. Files are read at most once in a process, so all recipes of a build are
calibrated on the same texts.

Example::

    load_calibration("b-mc2/sql-create-context", checkpoint).texts[0]
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from workbench.artifact import sha256_json
from workbench.asking import answered
from workbench.calibration_records import SUFFIXES, UNREADABLE, not_utf8, read_records, record_texts
from workbench.errors import CalibrationError
from workbench.formats.base import CALIBRATION_MEMORY
from workbench.hub_dataset import fetch_data
from workbench.nano import DATA_DIR
from workbench.prompt import PROMPTS, Prompt
from workbench.questions import REQUIRED_COLUMNS, load_question_set

if TYPE_CHECKING:
    from workbench.request import BuildRequest, ConvertRequest

BUNDLED = "bundled"
PIECE = 4096  # about the 1,024 tokens that recipes take of a text
HUB = "hub:"


@dataclass(frozen=True)
class CalibrationRequest:
    """What the user says of calibration.

    Attributes:
        source: of the texts, as ``--calibration`` takes it; ``None`` means the bundled questions.
        memory: most bytes for the states of the texts; what takes more is kept in files.
    """

    source: str | None = None
    memory: int = CALIBRATION_MEMORY

    @classmethod
    def of(cls, request: BuildRequest | ConvertRequest) -> Self:
        """What a build's or a conversion's request says of it."""
        gib = request.calibration_memory
        return cls(request.calibration, CALIBRATION_MEMORY if gib is None else int(gib * (1 << 30)))


@dataclass(frozen=True)
class CalibrationTexts:
    """Texts to calibrate on.

    Attributes:
        source: where they are from: ``bundled``, a file's name, or ``owner/name@commit/file``.
        texts: in the source's order.
    """

    source: str
    texts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 over the texts."""
        return sha256_json(list(self.texts))


def load_calibration(source: str | None, prompt: Prompt) -> CalibrationTexts:
    """The texts that a source stands for.

    Args:
        source: as ``--calibration`` takes it; ``None`` means the bundled questions.
        prompt: of the model; questions are rendered in it.

    Raises:
        CalibrationError: the source holds no text, or not in a way that is known.
        PrerequisiteError: a library to read it with is missing, or the Hub cannot be reached.
        WorkbenchError: see ``load_question_set`` and ``fetch_data``.
    """
    return _load(source, prompt.name)


@lru_cache(maxsize=4)
def _load(source: str | None, prompt_name: str) -> CalibrationTexts:
    prompt = PROMPTS[prompt_name]
    if source is None:
        return CalibrationTexts(BUNDLED, tuple(answered(prompt, load_question_set(DATA_DIR / "calibration.csv"))))
    path = Path(source).expanduser()
    if not source.startswith(HUB) and path.exists():
        return CalibrationTexts(path.resolve().name, tuple(_texts(path, prompt)))
    name = source.removeprefix(HUB)
    if name.partition("@")[0].partition(":")[0].count("/") != 1 or name.startswith((".", "/", "~")):
        raise CalibrationError(
            f"there is no file {source!r}; give --calibration a text, JSON Lines, CSV or Parquet file, or a data set "
            "of the Hub such as owner/name"
        )
    file, place = fetch_data(name)
    return CalibrationTexts(place, tuple(_texts(file, prompt)))


def _texts(path: Path, prompt: Prompt) -> list[str]:
    """The texts of a file or folder."""
    if path.is_dir() or _holds_questions(path):
        texts = answered(prompt, load_question_set(path))
    elif _suffix(path) in SUFFIXES:
        texts = record_texts(read_records(path, _suffix(path)), prompt, path.name)
    else:
        texts = list(pieces(_read(path)))
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise CalibrationError(f"{path.name} holds no text to calibrate on; give --calibration another file")
    return texts


def _suffix(path: Path) -> str:
    """What says how a file is to be read, without the mark of its compression."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _holds_questions(path: Path) -> bool:
    """Whether a CSV is a question set, which names databases instead of telling their schemas."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
        header = {name.strip() for name in next(csv.reader(handle), [])}
    beside = (path.parent / "schema.sql").is_file()
    needed = {"question", "query"} if beside else set(REQUIRED_COLUMNS) - {"query_category"}
    return needed <= header


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError(not_utf8(path, error)) from error
    except UNREADABLE as error:
        raise CalibrationError(f"{path.name} cannot be read ({error}); give --calibration a whole file") from error


def pieces(text: str, size: int = PIECE) -> list[str]:
    """Running text in pieces of at most ``size`` characters, cut at empty lines, else at line ends, else anywhere."""
    found: list[str] = []
    current = ""
    for paragraph in _cut(text, size, ("\n\n", "\n")):
        if current and len(current) + len(paragraph) > size:
            found.append(current)
            current = ""
        current += paragraph
    return [*found, current] if current else found


def _cut(text: str, size: int, marks: tuple[str, ...]) -> list[str]:
    """The text at the first mark's places, each part with its mark; parts that are too long at the next mark's."""
    if not marks:
        return [text[start : start + size] for start in range(0, len(text), size)]
    parts = [part for part in text.replace("\r\n", "\n").split(marks[0]) if part.strip()]
    whole = [part + marks[0] for part in parts]
    return [one for part in whole for one in ([part] if len(part) <= size else _cut(part, size, marks[1:]))]
