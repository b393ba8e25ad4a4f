"""Shows a command's progress and tables on the terminal, or as plain lines where there is none."""

from __future__ import annotations

import sys
import time

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from workbench.progress import Listener
from workbench.tables import Table

PIPE_WIDTH = 200  # where nobody's window limits the width, no cell need be cut


class Terminal(Listener):
    """Prints steps with the time since the start; progress in place on a terminal, silent in a pipe."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=PIPE_WIDTH, no_color=True)
        self._started = time.perf_counter()
        self._open_line = False

    def step(self, title: str) -> None:
        """Print a title with the time since the start."""
        self._close_line()
        self._console.print(f"[{time.perf_counter() - self._started:5.1f} s] {title}", markup=False)

    def note(self, text: str) -> None:
        """Print an indented line."""
        self._close_line()
        self._console.print(f"          {text}", markup=False)

    def advance(self, what: str, done: int, total: int) -> None:
        """Rewrite one line in place."""
        if self._console.is_terminal:
            sys.stdout.write(f"\r          {what}: {done}/{total}\x1b[K")
            sys.stdout.flush()
            self._open_line = True

    def table(self, table: Table, legend: str = "") -> None:
        """Print a table and its legend."""
        self._close_line()
        shown = RichTable(box=SIMPLE_HEAD, pad_edge=False)
        for column in table.header:
            shown.add_column(column, overflow="fold")
        for row in table.rows:
            shown.add_row(*(cell.replace("[", "\\[") for cell in row))
        self._console.print(shown)
        if legend:
            self._console.print(legend, markup=False)

    def _close_line(self) -> None:
        if self._open_line:
            sys.stdout.write("\r\x1b[K")
            self._open_line = False
