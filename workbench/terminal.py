"""Shows a command's progress and tables on the terminal, or as plain lines where there is none."""

from __future__ import annotations

import sys
import time

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from workbench.progress import Listener
from workbench.sizes import size_text
from workbench.tables import Table

REDRAW_S = 0.1
PIPE_EVERY_S = 30.0
PIPE_WIDTH = 200  # where nobody's window limits the width, no cell need be cut


class Terminal(Listener):
    """Prints steps with the time since the start; progress in place on a terminal, silent in a pipe."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=PIPE_WIDTH, no_color=True)
        self._started = time.perf_counter()
        self._open_line = False
        self._advancing = ("", 0)
        self._first = (0.0, 0)
        self._last = 0
        self._shown = 0.0

    def step(self, title: str) -> None:
        """Print a title with the time since the start."""
        self._close_line()
        self._console.print(f"[{time.perf_counter() - self._started:5.1f} s] {title}", markup=False)

    def note(self, text: str) -> None:
        """Print an indented line."""
        self._close_line()
        self._console.print(f"          {text}", markup=False)

    def advance(self, what: str, done: int, total: int) -> None:
        """Rewrite one line in place; bytes with their rate and the time left. In a pipe, a line now and then."""
        now = time.perf_counter()
        if self._advancing != (what, total) or done < self._last:
            self._advancing, self._first, self._shown = (what, total), (now, done), now
        self._last = done
        every = REDRAW_S if self._console.is_terminal else PIPE_EVERY_S
        if now - self._shown < every and (done < total or not self._console.is_terminal):
            return
        self._shown = now
        text = (
            f"{what}: {done}/{total}"
            if what != "bytes"
            else _bytes_text(done, total, done - self._first[1], now - self._first[0])
        )
        if not self._console.is_terminal:
            self.note(text)
            return
        sys.stdout.write(f"\r          {text}\x1b[K")
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


def _bytes_text(done: int, total: int, new: int, seconds: float) -> str:
    """``2.9 GiB of 28.9 GiB written, 393.1 MiB/s, 68 s left``; the rate is of what this run wrote alone."""
    text = f"{size_text(done)} of {size_text(total)} written"
    if new <= 0 or seconds < REDRAW_S:
        return text
    rate = new / seconds
    left = (total - done) / rate
    shown = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
    return f"{text}, {size_text(rate)}/s, {shown} left"
