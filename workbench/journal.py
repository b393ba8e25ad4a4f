"""A journal of finished pieces of work: one JSON line each, so that a killed run goes on where it stopped.

The first line holds the key of the work; a journal of another key is worth nothing and is begun anew. A line is
written after what it reports, and a last line cut in half by a kill is dropped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.whole_file import write_whole


class Journal:
    """Finished pieces, oldest first.

    Args:
        path: file; ``None`` keeps nothing.
        key: of the work.

    Attributes:
        entries: what earlier runs of the same work finished.
    """

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        self._path = path
        self._key = key
        self.entries: list[dict[str, Any]] = []
        self._begun = False
        lines = _whole_lines(path) if path and path.is_file() else []
        if lines and lines[0] == {"key": key}:
            self.entries = lines[1:]
            self._begun = True

    def keep(self, count: int) -> None:
        """Go on after the first ``count`` entries; the others turned out to be worth nothing."""
        self.entries = self.entries[:count]
        if self._path:
            lines = [{"key": self._key}, *self.entries]
            write_whole(self._path, "".join(json.dumps(line) + "\n" for line in lines))
            self._begun = True

    def add(self, entry: dict[str, Any]) -> None:
        """Note that a piece is finished."""
        self.entries.append(entry)
        if not self._begun:
            self.keep(len(self.entries))
        elif self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break  # what follows a broken line is not to be trusted
    return lines
