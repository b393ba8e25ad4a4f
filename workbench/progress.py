"""What a long command tells while it works; the silent listener of libraries and tests.

Public functions take a ``Listener`` and call it; only the command line knows how to show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.tables import Table


class Listener:
    """Hears what happens; this one ignores it."""

    def step(self, title: str) -> None:
        """A new part of the work begins."""

    def note(self, text: str) -> None:
        """Something the user should read."""

    def advance(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` pieces of ``what`` are finished."""

    def table(self, table: Table, legend: str = "") -> None:
        """A table to show."""


SILENT = Listener()
