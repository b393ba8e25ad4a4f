"""An engine's process that ends as it should not: what the user is told."""

import pytest

from workbench.engine_process import EngineProcess
from workbench.errors import WorkbenchError

DYING = """
import os, sys
sys.stderr.write("out of memory\\n")
os.write(1, b'{"event": "progress", "done": 1}\\n{"event": "res')
"""


def test_one_that_dies_within_a_line_is_told_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "dying_engine.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = []
    with EngineProcess("dying_engine", {}, "the engine") as child, pytest.raises(WorkbenchError) as died:
        told += child.events()
    assert "the engine died" in str(died.value)
    assert "out of memory" in str(died.value)
    assert "\n" not in str(died.value)
