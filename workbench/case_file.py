"""Cases in a JSON Lines file: what to judge goes in line by line, and each line is answered by one.

    {"id": 7, "setup_sql": "CREATE TABLE t (a int); INSERT INTO t VALUES (1)", "golds": ["SELECT a FROM t"],
     "candidate": "```sql\\nSELECT 1\\n```", "question": "Which a are there?", "order_matters": false}

(all on one line) is answered by

    {"line": 1, "id": 7, "verdict": "correct", "exact": true, "reason": "", "sql": "SELECT 1", "weak": "single cell",
     "seconds": 0.006}

``database`` may name a database instead of ``setup_sql``; ``question`` and ``order_matters`` may be left out; keys that
mean nothing here come back as they are. A setup or gold that fails, or a database that is not there, is answered by
the verdict ``harness_error``: it says nothing about the candidate, and the other lines are judged. Faults of the file
itself are told before anything runs, all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from workbench.databases import find_database, places
from workbench.errors import ConfigError, EvaluationError
from workbench.evals.cases import Case, judge_all
from workbench.nano import DATA_DIR
from workbench.tables import DASH, Table

if TYPE_CHECKING:
    from workbench.evals.postgres import Server
    from workbench.evals.sql_accuracy import Verdict

HARNESS_ERROR = "harness_error"
# Spellings of each key; of several in one line the first counts and the others come back.
SETUP = ("setup_sql", "setup")
DATABASE = ("database", "db_name", "db")
GOLDS = ("golds", "gold", "query", "gold_sql")
CANDIDATE = ("candidate", "answer", "prediction", "generated_query", "text")
QUESTION = ("question",)
ORDER = ("order_matters",)
CATEGORY = "query_category"  # sql-eval's; comes back as it is
_FLAGS = {"true": True, "false": False, "": None}

SHOWN = 60  # characters of a reason in the table

Scripts = Callable[[str], str]
Outcome: TypeAlias = "Verdict | EvaluationError"


@dataclass(frozen=True)
class CaseLine:
    """One line of the file.

    Attributes:
        number: in the file, from 1.
        case: what to judge.
        echo: the line's other keys.
        fault: why its tables are not to be had.
    """

    number: int
    case: Case
    echo: dict[str, Any]
    fault: EvaluationError | None = None

    def answer(self, outcome: Outcome) -> dict[str, Any]:
        """The answering line, ready for JSON."""
        return {"line": self.number} | self.echo | _told(outcome)


def _told(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, EvaluationError):
        return {"verdict": HARNESS_ERROR, "exact": False, "reason": str(outcome), "sql": "", "weak": "", "seconds": 0.0}
    told = {key: getattr(outcome, key) for key in ("verdict", "exact", "reason", "sql", "weak")}
    further = {key: getattr(outcome, key) for key in ("chance_hit", "defog_correct", "defog_exact")}
    told |= {key: value for key, value in further.items() if value is not None}
    return told | {"seconds": round(outcome.seconds, 4)}


def judge_lines(lines: Sequence[CaseLine], server: Server, timeout_s: float) -> Iterator[tuple[CaseLine, Outcome]]:
    """Each line with its verdict, or with the fault of the case; in order, as they come.

    Raises:
        WorkbenchError: the server is gone.
    """
    outcomes = judge_all([line.case for line in lines if line.fault is None], server, timeout_s=timeout_s)
    for line in lines:
        yield line, line.fault or next(outcomes)


def read_cases(lines: Iterable[str], source: str, scripts: Scripts) -> list[CaseLine]:
    """Read the cases; empty lines are skipped.

    Args:
        lines: the file's.
        source: its name, for messages.
        scripts: the SQL of a database by its name; raises an EvaluationError where there is none.

    Raises:
        ConfigError: lines are no case, all faults told at once; or there is no case.
    """
    found: list[CaseLine] = []
    faults: list[str] = []
    try:
        for number, text in enumerate(lines, start=1):
            try:
                found += [_read(number, text, scripts)] if text.strip() else []
            except _Faults as error:
                faults += [f"line {number}: {fault}" for fault in error.faults]
    except UnicodeDecodeError as error:
        raise ConfigError(source, [f"is not in UTF-8 ({error})"]) from error
    if faults or not found:
        raise ConfigError(source, faults or ["holds no case; write one JSON object a line"])
    return found


def scripts_in(databases: Path | None, beside: Path = Path()) -> Scripts:
    """The SQL of databases by name: those of a folder, those beside the cases, the bundled ones and defog-data's."""
    own, bundled = places(beside / "cases.jsonl", databases), places(DATA_DIR / "heldout.csv")
    where = tuple(dict.fromkeys((*(place for place in own if place not in bundled), *bundled)))
    return cache(lambda name: find_database(where, name).script())


class _Faults(Exception):
    """What is wrong with one line."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults


def _read(number: int, text: str, scripts: Scripts) -> CaseLine:
    fields = _Fields(_parse(text))
    setup = fields.setup(scripts)
    golds = fields.golds()
    candidate = fields.text(CANDIDATE, needed=True)
    question = fields.text(QUESTION)
    order = fields.order()
    category = fields.rest.get(CATEGORY)
    if fields.faults:
        raise _Faults(*fields.faults)
    case = Case(setup, golds, candidate, question, order, str(number), category if isinstance(category, str) else "")
    return CaseLine(number, case, fields.rest, fields.missing)


def _parse(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Faults(f"is no JSON ({error})") from error
    if not isinstance(record, dict):
        raise _Faults("is no JSON object")
    return record


class _Fields:
    """Takes one line's keys out under any of their names, noting faults.

    ``rest`` is what is left, ``missing`` says that the database is not there.
    """

    def __init__(self, record: dict[str, Any]) -> None:
        self.rest = dict(record)
        self.faults: list[str] = []
        self.missing: EvaluationError | None = None

    def take(self, names: Sequence[str]) -> tuple[str, Any]:
        """The first of these keys that the line has, and its value; the first name and ``None`` if it has none."""
        given = [name for name in names if self.rest.get(name) is not None]
        found = next(iter(given or [name for name in names if name in self.rest]), names[0])
        return found, self.rest.pop(found, None)

    def text(self, names: Sequence[str], needed: bool = False) -> str:
        """A text; ``null`` counts as an empty one."""
        missing = not any(name in self.rest for name in names)
        name, value = self.take(names)
        if missing and needed:
            self.faults.append(f"{name} is missing")
        elif not isinstance(value, str | None):
            self.faults.append(f"{name} is no text")
        return value if isinstance(value, str) else ""

    def golds(self) -> list[str]:
        """One text or a list of them."""
        name, value = self.take(GOLDS)
        golds = [value] if isinstance(value, str) else value
        if value is None or golds == []:
            self.faults.append(f"{name} is missing")
        elif not isinstance(golds, list) or not all(isinstance(gold, str) for gold in golds):
            self.faults.append(f"{name} is neither a text nor a list of texts")
        return golds if isinstance(golds, list) else []

    def order(self) -> bool | None:
        """True, false or, where the question is to decide, ``None``."""
        name, value = self.take(ORDER)
        value = _FLAGS.get(value.strip().lower(), value) if isinstance(value, str) else value
        if not isinstance(value, bool | None):
            self.faults.append(f"{name} is neither true nor false")
        return value if isinstance(value, bool) else None

    def setup(self, scripts: Scripts) -> str:
        """The SQL that makes the tables: the line's own, else that of the database it names."""
        if any(self.rest.get(name) is not None for name in SETUP):
            return self.text(SETUP)
        name = self.text(DATABASE)
        if not name:
            self.faults.append("setup_sql is missing (or database, the name of one)")
            return ""
        try:
            return scripts(name)
        except EvaluationError as error:
            self.missing = error
            return ""


def cases_table(judged: Sequence[tuple[CaseLine, Outcome]]) -> Table:
    """One row a case."""
    return Table(("line", "id", "verdict", "exact", "weak gold", "reason"), tuple(_row(*pair) for pair in judged))


def _row(line: CaseLine, outcome: Outcome) -> tuple[str, ...]:
    told = _told(outcome)
    reason = " ".join(told["reason"].split())
    return (
        str(line.number),
        str(line.echo.get("id", DASH)),
        told["verdict"],
        "yes" if told["exact"] else "no",
        told["weak"],
        reason if len(reason) <= SHOWN else reason[: SHOWN - 3] + "...",
    )


def summary(judged: Sequence[tuple[CaseLine, Outcome]]) -> str:
    """``200 cases: 91 correct (80 exact), 60 incorrect, 9 error, 40 rejected``."""
    verdicts = [_told(outcome)["verdict"] for _, outcome in judged]
    exact = sum(_told(outcome)["exact"] for _, outcome in judged)
    counts = {name: verdicts.count(name) for name in ("correct", "incorrect", "error", "rejected", HARNESS_ERROR)}
    parts = [f"{count} {name}" + f" ({exact} exact)" * (name == "correct") for name, count in counts.items() if count]
    return f"{len(judged)} cases: {', '.join(parts)}"


def fault_text(judged: Sequence[tuple[CaseLine, Outcome]]) -> str:
    """Which cases could not be judged; empty when all were."""
    lines = [str(line.number) for line, outcome in judged if isinstance(outcome, EvaluationError)]
    if not lines:
        return ""
    shown = ", ".join(lines[:10]) + ", ..." * (len(lines) > 10)
    return f"{len(lines)} of {len(judged)} cases have a setup or gold that fails; correct these, as told: lines {shown}"
