"""Weak golds asked again on other rows, so that a chance hit is found out.

A gold that is empty, all NULL or a single cell is matched easily: ``SELECT 3`` equals any count that happens to be
three. So a second copy of the database is made and filled several times over with other rows: some left out, columns
shuffled, by rules that keep right answers right (``workbench.evals.perturbation``), and values planted of which the
golds ask (``.planting``). A filling tells about a question
if its gold returns something else there, and not by the toss of a tie. An answer that is right on the given rows and
fails on two of the fillings that tell, before it passes two, was right by chance; so it is if but one tells, and it
fails there. Where none tells, nothing is found out.

The copy is made the first time an answer to a weak gold is right, kept with the server, and dropped with it. The idea
is that of Zhong, Yu and Klein's test suites (2020, arXiv 2010.02840).

    verdicts = confirm(Weak(question_set, golds, server), verdicts, timeout_s=5)
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workbench.errors import EvaluationError
from workbench.evals.comparison import Comparison, compare
from workbench.evals.gold_columns import copied_columns, find_links
from workbench.evals.golds import Gold, expand, run_golds, weakness
from workbench.evals.perturbation import Perturbation, Protected
from workbench.evals.planting import plants, seeded
from workbench.evals.sandbox import MOST_ROWS, QueryFailed, Table
from workbench.evals.table_data import read_data, replacement_script
from workbench.evals.telling import tells, tossed
from workbench.questions import Question, QuestionSet

if TYPE_CHECKING:
    from workbench.evals.postgres import Database, Server
    from workbench.evals.sql_accuracy import Verdict

FILLINGS = 6  # the later ones for questions about which the first do not tell enough
DECISIVE = 2  # as many of one kind settle it


@dataclass(frozen=True)
class Weak:
    """Where weak golds are asked again.

    Attributes:
        question_set: whose databases are copied.
        golds: what its golds return on the given rows, by question id.
        server: where databases and copies are loaded.
    """

    question_set: QuestionSet
    golds: Mapping[str, Gold]
    server: Server

    def by_database(self, wanted: Iterable[str]) -> dict[str, list[Question]]:
        """The weak among these questions, by database."""
        ids = set(wanted)
        found: dict[str, list[Question]] = {}
        for question in self.question_set.questions:
            if question.id in ids and question.id in self.golds and self.golds[question.id].weak:
                found.setdefault(question.db_name, []).append(question)
        return found


_Place = tuple[int, str, bool]  # a filling, and what decides a question's gold on it


@dataclass
class Copy:
    """A second copy of one database, to be filled with one set of rows after the other.

    Attributes:
        server: where it is.
        database: the copy; none where the original is too large.
        script: SQL that puts other rows in place of those there, by the number of the filling.
        fillings: how many there are.
        lock: held by whoever relies on its rows.
    """

    server: Server
    database: Database | None = None
    script: Callable[[int], str] = str
    fillings: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _current: int | None = None
    _golds: dict[_Place, Gold | None] = field(default_factory=dict)
    _outcomes: dict[tuple[_Place, str, float], Comparison] = field(default_factory=dict)

    def fill(self, number: int) -> Database:
        """The copy with these rows."""
        assert self.database is not None  # there are fillings
        if self._current != number:
            self._current = None
            self.server.change(self.database, self.script(number))
            self.database.cache.clear()
            self._current = number
        return self.database

    def golds(self, number: int, questions: Sequence[Question], given: Mapping[str, Gold]) -> dict[str, Gold]:
        """What right answers return on these rows, by question id, of those questions about which that tells."""
        keys = {question.id: _place(number, question) for question in questions}
        missing = [question for question in questions if keys[question.id] not in self._golds]
        if missing:
            found = self._run(number, missing)
            for question in missing:
                gold = found.get(question.id)
                telling = gold and tells(given[question.id], gold) and not tossed(question, gold, self.fill(number))
                self._golds[keys[question.id]] = gold if telling else None
        return {question: gold for question, key in keys.items() if (gold := self._golds[key])}

    def ask(self, number: int, question: Question, candidate: tuple[str, float], gold: Gold) -> Comparison:
        """How a query does on these rows; an equal one that was asked before, of the same question, is not run again.

        Args:
            number: of the filling.
            question: whose answer it is.
            candidate: the query, and its time limit in seconds.
            gold: of the question on these rows.
        """
        key = _place(number, question), *candidate
        if key in self._outcomes:
            return self._outcomes[key]
        try:
            outcome = _compared(*candidate, gold, self.fill(number))
        except QueryFailed as error:
            outcome = Comparison(False, False, str(error))
            if error.passing:
                return outcome
        self._outcomes[key] = outcome
        return outcome

    def _run(self, number: int, questions: Sequence[Question]) -> dict[str, Gold]:
        """The golds that run: the rows may break a rule that was not seen, or a gold divide by what is now zero."""
        try:
            return run_golds(list(questions), self.fill(number), MOST_ROWS)
        except EvaluationError:
            halves = [questions[: len(questions) // 2], questions[len(questions) // 2 :]] if len(questions) > 1 else []
            return {name: gold for half in halves for name, gold in self._run(number, half).items()}


def _place(number: int, question: Question) -> _Place:
    return number, question.query, question.order_matters


def _compared(sql: str, timeout_s: float, gold: Gold, database: Database) -> Comparison:
    longest = max(expected.count for expected in gold.answers)
    table = database.run(sql, timeout_s=timeout_s, max_rows=longest + 1)
    if table.truncated:
        return Comparison(False, False, f"over {longest} rows, the gold has {longest}")
    outcomes = [compare(expected, table.rows, table.width) for expected in gold.answers]
    return next((one for one in outcomes if one.correct), outcomes[0])


def confirm(weak: Weak, verdicts: Sequence[Verdict], timeout_s: float) -> list[Verdict]:
    """The verdicts, those ``correct`` on a weak gold checked on the copy.

    Raises:
        EvaluationError: the server is gone.
    """
    from workbench.evals.sql_accuracy import workers

    suspects = {one.question_id: one for one in verdicts if one.verdict == "correct" and one.weak}

    def check(item: tuple[str, list[Question]]) -> list[Verdict]:
        return _confirm_on(copy_of(weak, item[0]), weak, item[1], suspects, timeout_s)

    with workers() as pool:
        found = pool.map(check, weak.by_database(suspects).items())
        checked = {one.question_id: one for ones in found for one in ones}
    return [checked.get(one.question_id, one) for one in verdicts]


def _confirm_on(
    copy: Copy, weak: Weak, questions: Sequence[Question], verdicts: Mapping[str, Verdict], timeout_s: float
) -> list[Verdict]:
    """Two failures refuse an answer, two passes confirm it; one of a kind does where no more fillings tell."""
    found: dict[str, list[Comparison]] = {question.id: [] for question in questions}
    with copy.lock:
        for number in range(copy.fillings):
            open_ones = {question.id: question for question in questions if not _settled(found[question.id])}
            for name, gold in copy.golds(number, list(open_ones.values()), weak.golds).items():
                found[name].append(copy.ask(number, open_ones[name], (verdicts[name].sql, timeout_s), gold))
    return [_confirmed(verdicts[question], outcomes) for question, outcomes in found.items()]


def _settled(outcomes: Sequence[Comparison]) -> bool:
    passed = sum(one.correct for one in outcomes)
    return max(passed, len(outcomes) - passed) >= DECISIVE


def _confirmed(verdict: Verdict, outcomes: Sequence[Comparison]) -> Verdict:
    failures = [one.reason for one in outcomes if not one.correct]
    if 2 * len(failures) > len(outcomes):
        why = f"matches by chance: the gold is {verdict.weak}, and on other rows: {failures[0]}"
        return replace(verdict, verdict="incorrect", exact=False, reason=why, chance_hit=True)
    return replace(verdict, chance_hit=False) if outcomes else verdict


def copy_of(weak: Weak, name: str) -> Copy:
    """The copy of one database, made on the first call; with no fillings where it is too large or nothing can change.

    Raises:
        EvaluationError: the server is gone.
    """
    original = weak.server.database(weak.question_set, name)
    key = ("second copy", *(question.query for question in weak.question_set.questions))
    with original.cache.setdefault(("making", *key), threading.Lock()):
        if key not in original.cache:
            original.cache[key] = _make_copy(weak, name, original, hashlib.sha256(repr(key).encode()).hexdigest())
    copy: Copy = original.cache[key]
    return copy


def _make_copy(weak: Weak, name: str, original: Database, token: str) -> Copy:
    """Make it under a script that has the token in it, so that no other copy shares its database."""
    data = read_data(original)
    if data is None:
        return Copy(weak.server)
    asked = [question for question in weak.question_set.questions if question.db_name == name and question.answerable]
    links = find_links(data, [expand(question.query)[0] for question in asked], _schema(weak.question_set, name))
    copied = copied_columns(data, links)
    queries = [(sql, table) for question in asked for sql, table in _weak_queries(weak, question)]
    drawn, found = Perturbation(data, links, copied), plants(data, [sql for sql, _ in queries], original)
    held: Protected = {}
    if barren := [sql for sql, table in queries if finds_nothing(table)]:
        changed, held = seeded(data, barren, original, drawn.free)
        drawn = Perturbation(changed, links, copied)
    database = weak.server.keep(f"{name} (second copy)", f"{weak.question_set.script(name)}\n-- {token}")

    def script(number: int) -> str:
        return replacement_script(data, drawn.rows(number + 1, held, found))

    return Copy(weak.server, database, script, FILLINGS)


def _weak_queries(weak: Weak, question: Question) -> list[tuple[str, Table]]:
    """The weak among a question's expanded golds, with what they return on the given rows."""
    gold = weak.golds[question.id]
    return [pair for pair in zip(expand(question.query), gold.tables, strict=True) if weakness(pair[1])]


def finds_nothing(table: Table) -> bool:
    """Whether a result tells of no rows: there are none, or NULLs, or a single zero."""
    return weakness(table) in ("empty", "all NULL") or (len(table.rows) == table.width == 1 and table.rows[0][0] == 0)


def _schema(question_set: QuestionSet, name: str) -> str:
    try:
        return question_set.schema(name)
    except EvaluationError:  # no description to prompt with, which scoring does not need
        return ""
