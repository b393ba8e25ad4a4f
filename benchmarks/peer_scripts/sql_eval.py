"""sql-eval's ``compare_query_results``, question after question, as its own runner for local models does.

It connects for each query, runs the golds anew for each answer and compares frames of pandas. Where ``func_timeout`` is
not installed, queries run without a thread of their own to end them, which is quicker.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from _serve import Work, serve


def load(checkout: Path) -> Any:
    """Its module; what it imports but these functions do not use (cloud clients) is replaced."""
    if importlib.util.find_spec("func_timeout") is None:
        stand_in = types.ModuleType("func_timeout")
        stand_in.func_timeout = lambda timeout, function, args: function(*args)  # type: ignore[attr-defined]
        sys.modules["func_timeout"] = stand_in
    sys.path.insert(0, str(checkout))
    spec = importlib.util.spec_from_file_location("sql_eval_module", checkout / "eval" / "eval.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    while True:
        try:
            spec.loader.exec_module(module)
        except ModuleNotFoundError as missing:
            sys.modules[str(missing.name)] = MagicMock()
        else:
            return module


def prepare(checkout: str, host: str, user: str, cases: list[dict[str, str]]) -> tuple[str, Work]:
    compare = load(Path(checkout)).compare_query_results
    # No host before the database's name, a socket's folder behind it: SQLAlchemy passes that on.
    credentials = {"user": user, "password": "", "host": "", "port": 5432}

    def judge(case: dict[str, str]) -> tuple[bool, bool]:
        place = f"{case['database']}?host={host}"
        asked = case["question"], case["category"]
        try:
            exact, correct = compare(case["gold"], case["sql"], place, "postgres", credentials, *asked)
        except Exception:  # noqa: BLE001 - as its runners do
            return False, False
        return bool(exact), bool(correct)

    def work() -> Any:
        verdicts = [judge(case) for case in cases]
        return lambda: {"verdicts": verdicts}

    return "sql-eval", work


serve(prepare)
