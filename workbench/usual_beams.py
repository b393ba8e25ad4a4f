"""With how many beams a model is usually asked, which its memory and its speed depend on.

A model's own ``generation_config.json`` says so where it says anything. defog evaluates the SQLCoder family with 4 or
5 beams and no sampling (``inference.py`` and the model cards), so the fewer are assumed for models of that name;
everything else is asked greedily.

Example::

    usual_beams(peek_checkpoint("defog/sqlcoder"))  # (4, "defog evaluates its models with 4 or 5 beams")
"""

from __future__ import annotations

import json

from workbench.checkpoint import Checkpoint
from workbench.nano import MODEL_NAME
from workbench.workload import MOST_BEAMS

DEFOG_BEAMS = 4
_FILE = "generation_config.json"


def usual_beams(checkpoint: Checkpoint) -> tuple[int, str]:
    """Number of beams and where it comes from."""
    told = _told(checkpoint)
    if told is not None:
        return told, f"num_beams of its {_FILE}"
    return beams_by_name(checkpoint.model_name)


def beams_by_name(model: str) -> tuple[int, str]:
    """The same for a model of which nothing but the name is known."""
    name = model.lower()
    if "sqlcoder" in name and name != MODEL_NAME:
        return DEFOG_BEAMS, "defog evaluates its models with 4 or 5 beams"
    return 1, "greedy, for want of a word on beams"


def _told(checkpoint: Checkpoint) -> int | None:
    """What the generation config says, if it says something of use."""
    path = checkpoint.path / _FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return None  # a broken one is the loader's to complain of; nothing else of a plan depends on it
    value = document.get("num_beams") if isinstance(document, dict) else None
    return value if type(value) is int and 1 <= value <= MOST_BEAMS else None
