"""Question sets: what the model is asked, in sql-eval's own CSV format.

A question set is a CSV file with the databases it asks about beside it, or elsewhere (``workbench.databases``)::

    questions.csv                     question,query,db_name,query_category,instructions[,...]
    databases/<db_name>/schema.sql    DDL; its text is also what the prompt shows the model
    databases/<db_name>/rows.sql      INSERT statements, or a CSV per table

or a folder of one's own, where ``schema.sql``, the rows and ``questions.csv`` lie together; then ``db_name`` and
``query_category`` may be left out.

The first five columns are those of defog-ai/sql-eval, in any order; columns unknown here are left alone. Further
ones that are read when present: ``hardness`` (Spider's easy, medium, hard, extra), ``order_matters`` (``true`` when
the question asks for an order; else ``workbench.asked_order`` tells) and ``answerable`` (``false`` when the right
answer is 'I do not know'; a gold that says so tells it too).
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from workbench.artifact import sha256_json
from workbench.asked_order import Source, asks_for_order
from workbench.databases import find_database, places
from workbench.declining import gold_declines
from workbench.errors import ConfigError, EvaluationError

REQUIRED_COLUMNS = ("question", "query", "db_name", "query_category")
OWN_CATEGORY = "own"
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Question:
    """One question with its gold SQL.

    Attributes:
        id: unique and stable within its set (row number from 0 in the CSV, as text).
        question: natural language, one line.
        query: gold SQL; alternatives separated by ``;`` as in sql-eval.
        db_name: database the gold runs on.
        query_category: sql-eval's category, e.g. ``group_by``.
        hardness: Spider's class, or ``None`` when the file does not give it.
        order_matters: whether row order is part of the answer.
        instructions: extra text for the prompt, often empty.
        order_from: who says so: the ``file``, the ``audit`` of public questions, or the ``rule`` on its words.
        answerable: whether the database can answer it; where not, the right answer declines.
    """

    id: str
    question: str
    query: str
    db_name: str
    query_category: str
    hardness: str | None = None
    order_matters: bool = False
    instructions: str = ""
    order_from: Source = "file"
    answerable: bool = True


@dataclass(frozen=True)
class QuestionSet:
    """Questions and the databases they are asked of.

    Attributes:
        name: shown in reports, e.g. ``heldout``.
        questions: in file order.
        databases: where they are looked for: a folder with one sub-folder per database, or several, in order.
        source: the file they were read from, if any.
    """

    name: str
    questions: tuple[Question, ...]
    databases: Path | tuple[Path, ...]
    source: Path | None = None

    def schema(self, db_name: str) -> str:
        """DDL of one database, exactly as it is shown in the prompt."""
        return find_database(self._places, db_name).schema()

    def script(self, db_name: str) -> str:
        """All SQL that creates and fills one database."""
        return find_database(self._places, db_name).script()

    @property
    def _places(self) -> tuple[Path, ...]:
        return (self.databases,) if isinstance(self.databases, Path) else self.databases

    @cached_property
    def digest(self) -> str:
        """sha256 over the questions and the databases they use."""
        data = {name: [self.schema(name), self.script(name)] for name in self.db_names()}
        return sha256_json([[asdict(question) for question in self.questions], data])

    def db_names(self) -> list[str]:
        """Databases the questions use, sorted."""
        return sorted({question.db_name for question in self.questions})

    def answerable(self) -> QuestionSet:
        """Those of its questions that the databases can answer."""
        return replace(self, questions=tuple(question for question in self.questions if question.answerable))

    def thinned(self, limit: int | None) -> QuestionSet:
        """At most ``limit`` questions, evenly spread, so that every database stays represented."""
        count = len(self.questions)
        if limit is None or limit >= count:
            return self
        keep = tuple(self.questions[i * count // limit] for i in range(limit))
        return replace(self, questions=keep)


def load_question_set(source: Path, databases: Path | None = None, name: str | None = None) -> QuestionSet:
    """Read a question set.

    Args:
        source: the questions file, or the folder that holds ``questions.csv``.
        databases: folder to look for databases in first; see ``workbench.databases.places``.
        name: default the CSV's stem, or the folder's name.

    Raises:
        EvaluationError: the file is missing or holds no question.
        ConfigError: columns or cells are missing, all faults at once.
    """
    csv_path = source / "questions.csv" if source.is_dir() else source
    if not csv_path.is_file():
        raise EvaluationError(
            f"no question file at {csv_path}; give --questions a CSV in sql-eval's format, or a folder with "
            "questions.csv, schema.sql and rows"
        )
    rows = _read_rows(csv_path)
    if not rows:
        raise EvaluationError(f"{csv_path} holds no question; add at least one row")
    return QuestionSet(
        name or (source.resolve().name if source.is_dir() else csv_path.stem),
        tuple(_question(number, row) for number, row in enumerate(rows)),
        places(csv_path, databases),
        csv_path,
    )


def _read_rows(csv_path: Path) -> list[dict[str, str]]:
    """Each row's cells that hold something, by column; faults name the line on which the row ends."""
    defaults = _defaults(csv_path)
    try:
        with csv_path.open(newline="", encoding="utf-8-sig") as handle:  # spreadsheets write a byte order mark
            reader = csv.reader(handle)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in REQUIRED_COLUMNS if name not in [*header, *defaults]]
            if missing:
                raise ConfigError(str(csv_path), [f"column {column!r} is missing" for column in missing])
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(csv_path), [f"is no CSV in UTF-8 ({error})"]) from error
    rows, faults = [], []
    for line, cells in lines:
        if not any(cells):
            continue
        row = defaults | {name: cell for name, cell in zip(header, cells, strict=False) if cell}
        rows.append(row)
        faults += [f"line {line}: {fault}" for fault in _row_faults(row, cells[len(header) :])]
    if faults:
        raise ConfigError(str(csv_path), faults)
    return rows


def _defaults(csv_path: Path) -> dict[str, str]:
    """What a file of questions beside its one database need not say."""
    own = (csv_path.parent / "schema.sql").is_file()
    return {"db_name": csv_path.parent.resolve().name, "query_category": OWN_CATEGORY} if own else {}


def _row_faults(row: dict[str, str], beyond: list[str]) -> list[str]:
    needed = [name for name in REQUIRED_COLUMNS if name != "query" or _flag(row, "answerable") is not False]
    faults = [f"{name} is empty" for name in needed if name not in row]
    if any(beyond):
        faults.append("has more cells than columns; put texts that hold commas in quotes")
    for name in ("order_matters", "answerable"):
        if name in row and _flag(row, name) is None:
            faults.append(f"{name} is {row[name]!r}; write true or false, or leave it empty")
    return faults


def _flag(row: dict[str, str], column: str) -> bool | None:
    """A cell of true or false; ``None`` when it says neither."""
    return FLAGS.get(row.get(column, "").lower())


def _question(number: int, row: dict[str, str]) -> Question:
    said, query = _flag(row, "answerable"), row.get("query", "")
    answerable = not gold_declines(query) if said is None else said
    ordered = _flag(row, "order_matters")
    order_matters, order_from = asks_for_order(row["question"]) if ordered is None else (ordered, "file")
    return Question(
        id=str(number),
        question=row["question"],
        query=query,
        db_name=row["db_name"],
        query_category=row["query_category"],
        hardness=row.get("hardness"),
        order_matters=order_matters,
        instructions=row.get("instructions", ""),
        order_from=order_from,
        answerable=answerable,
    )
