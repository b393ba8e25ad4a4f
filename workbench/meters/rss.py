"""Resident memory of a process and its children: its pages that lie in RAM, libraries and mapped weights included.

Pages that two processes share are counted in both, so that a tree of processes can look larger than it is; an engine
here is one process. On Linux the kernel itself keeps the largest resident size a process ever had (``VmHWM``), which
sampling can miss: it is asked, too. Source: man 5 proc_pid_status.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from workbench.meters.base import Meter, Quantity

if TYPE_CHECKING:
    import psutil

LOOK_S = 0.5  # looking for children reads every process of the machine
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class ResidentMeter(Meter):
    """Resident set of a tree of processes."""

    name: ClassVar[str] = "rss"
    quantity: ClassVar[Quantity] = "memory"
    device: ClassVar[str] = "cpu"
    scope = "resident set of the engine's process"

    def __init__(self, pid: int) -> None:
        import psutil

        self._process = psutil.Process(pid)
        self._children: list[psutil.Process] = []
        self._looked = -math.inf

    @classmethod
    def opened(cls, pid: int) -> Self | None:
        """Every system has one; ``None`` when the process is gone."""
        import psutil

        try:
            return cls(pid)
        except psutil.Error:
            return None

    def read(self) -> float | None:
        """Bytes resident now."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            total = self._process.memory_info().rss
            if time.monotonic() - self._looked > LOOK_S:
                self._children, self._looked = self._process.children(recursive=True), time.monotonic()
            for child in self._children:
                total += child.memory_info().rss
        return total or None

    def peak(self) -> float | None:
        """The kernel's high-water mark of the process itself."""
        return high_water_bytes(self._process.pid)


def high_water_bytes(pid: int) -> int | None:
    """The largest resident size that the kernel saw of a process; ``None`` where it does not tell."""
    try:
        found = _HIGH_WATER.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


METER = ResidentMeter
