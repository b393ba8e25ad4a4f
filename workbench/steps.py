"""Results of a build's steps, kept with the key of what went into them: an unchanged step is not run again.

One JSON file per step. A key is the digest of everything that decides a result; when it differs, or the file cannot
be read, the step is run and its file replaced.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.storage import storage_error
from workbench.whole_file import write_whole


class Steps:
    """Remembered results below one folder.

    Args:
        folder: made when something is first remembered.
        forget: run everything anew.
    """

    def __init__(self, folder: Path, forget: bool = False) -> None:
        self._folder = folder
        self._forget = forget

    def recall(self, step: str, key: str) -> Any | None:
        """The result remembered for a step under this key; ``None`` when there is none."""
        if self._forget:
            return None
        try:
            record = json.loads((self._folder / f"{step}.json").read_text(encoding="utf-8"))
            return record["result"] if record["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or not ours: the step is simply run

    def remember(self, step: str, key: str, result: Any) -> None:
        """Keep a result of JSON values.

        Raises:
            StorageError: the folder cannot be written.
        """
        path = self._folder / f"{step}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps({"key": key, "result": result}))
        except OSError as error:
            raise storage_error(error, path) from error
