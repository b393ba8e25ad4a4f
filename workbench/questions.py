"""Question sets: what the model is asked, in sql-eval's own CSV format.

A question set is a folder::

    questions.csv                     question,query,db_name,query_category,instructions[,...]
    databases/<db_name>/schema.sql    DDL; its text is also what the prompt shows the model
    databases/<db_name>/rows.sql      INSERT statements

The first five columns are those of defog-ai/sql-eval. Extra columns this project writes and
reads when present: ``hardness`` (Spider's easy, medium, hard, extra) and ``order_matters``
(``true`` when the question asks for an order, so that row order is compared too).
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from workbench.artifact import sha256_json
from workbench.errors import ConfigError, EvaluationError

REQUIRED_COLUMNS = ("question", "query", "db_name", "query_category")


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
    """

    id: str
    question: str
    query: str
    db_name: str
    query_category: str
    hardness: str | None = None
    order_matters: bool = False
    instructions: str = ""


@dataclass(frozen=True)
class QuestionSet:
    """Questions and the databases they are asked of.

    Attributes:
        name: shown in reports, e.g. ``heldout``.
        questions: in file order.
        databases: folder with one sub-folder per database.
    """

    name: str
    questions: tuple[Question, ...]
    databases: Path

    def schema(self, db_name: str) -> str:
        """DDL of one database, exactly as it is shown in the prompt."""
        return self._read(db_name, "schema.sql").strip()

    def rows(self, db_name: str) -> str:
        """SQL that fills one database."""
        return self._read(db_name, "rows.sql")

    def _read(self, db_name: str, name: str) -> str:
        path = self.databases / db_name / name
        if not path.is_file():
            raise EvaluationError(f"question set {self.name!r} needs {path}; create it or correct db_name")
        return path.read_text(encoding="utf-8")

    @cached_property
    def digest(self) -> str:
        """sha256 over the questions and the databases they use."""
        data = {name: [self.schema(name), self.rows(name)] for name in self.db_names()}
        return sha256_json([[asdict(question) for question in self.questions], data])

    def db_names(self) -> list[str]:
        """Databases the questions use, sorted."""
        return sorted({question.db_name for question in self.questions})

    def thinned(self, limit: int | None) -> QuestionSet:
        """At most ``limit`` questions, evenly spread, so that every database stays represented."""
        count = len(self.questions)
        if limit is None or limit >= count:
            return self
        keep = tuple(self.questions[i * count // limit] for i in range(limit))
        return QuestionSet(self.name, keep, self.databases)


def load_question_set(csv_path: Path, databases: Path | None = None, name: str | None = None) -> QuestionSet:
    """Read a question set.

    Args:
        csv_path: the questions file.
        databases: folder of the databases; default ``databases`` beside the CSV.
        name: default the CSV's stem.

    Raises:
        EvaluationError: the file is missing or holds no question.
        ConfigError: columns or cells are missing, all faults at once.
    """
    if not csv_path.is_file():
        raise EvaluationError(f"no question file at {csv_path}; give --questions a CSV in sql-eval's format")
    rows = _read_rows(csv_path)
    if not rows:
        raise EvaluationError(f"{csv_path} holds no question; add at least one row")
    return QuestionSet(
        name or csv_path.stem,
        tuple(_question(number, row) for number, row in enumerate(rows)),
        databases or csv_path.parent / "databases",
    )


def _read_rows(csv_path: Path) -> list[dict[str, str]]:
    """Rows with every required cell filled; faults name the line on which the row ends."""
    try:
        with csv_path.open(newline="", encoding="utf-8-sig") as handle:  # spreadsheets write a byte order mark
            reader = csv.DictReader(handle)
            missing = [column for column in REQUIRED_COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise ConfigError(str(csv_path), [f"column {column!r} is missing" for column in missing])
            lines = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(csv_path), [f"is no CSV in UTF-8 ({error})"]) from error
    faults = [fault for line, row in lines for fault in _row_faults(line, row)]
    if faults:
        raise ConfigError(str(csv_path), faults)
    return [row for _, row in lines]


def _row_faults(line: int, row: dict[str, str]) -> list[str]:
    faults = [f"line {line}: {column} is empty" for column in REQUIRED_COLUMNS if not (row[column] or "").strip()]
    if None in row:  # DictReader's key for cells beyond the header
        faults.append(f"line {line}: has more cells than columns; put texts that hold commas in quotes")
    return faults


def _question(number: int, row: dict[str, str]) -> Question:
    return Question(
        id=str(number),
        question=row["question"].strip(),
        query=row["query"].strip(),
        db_name=row["db_name"].strip(),
        query_category=row["query_category"].strip(),
        hardness=(row.get("hardness") or "").strip() or None,
        order_matters=(row.get("order_matters") or "").strip().lower() == "true",
        instructions=(row.get("instructions") or "").strip(),
    )
