"""Memory of a process on a Mac, as its system charges it: GPU buffers are in it, for CPU and GPU share one memory.

The resident set misses what the GPU holds wired and counts pages of files that cost nothing. What Activity Monitor
shows and what the system kills by is the *physical footprint*; the tool ``footprint`` (of every macOS) tells it for any
process of the same user, and its peak, which the kernel keeps. Not tried on a Mac: the test feeds what the tool prints.

Source: man footprint; Apple, "Detect and diagnose memory issues", WWDC 2021.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from typing import ClassVar, Self

from workbench.meters.base import Meter, Quantity

TOOL = "footprint"
LOOK_S = 0.5  # the tool takes some tens of milliseconds; the kernel keeps the peak in between
TIMEOUT_S = 10
_LINE = re.compile(r"phys_footprint(?:_peak)?:\s+([\d.]+)\s*([KMG]?B)")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


class FootprintMeter(Meter):
    """Physical footprint of a process, by macOS."""

    name: ClassVar[str] = "footprint"
    quantity: ClassVar[Quantity] = "memory"
    device: ClassVar[str] = "mps"
    scope = "physical footprint of the engine's process"

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked = -LOOK_S
        self._bytes: float | None = None

    @classmethod
    def opened(cls, pid: int) -> Self | None:
        """``None`` where the tool is not there."""
        return cls(pid) if sys.platform == "darwin" and shutil.which(TOOL) else None

    def read(self) -> float | None:
        """Largest bytes so far, looked up twice a second."""
        if time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            command = [TOOL, "-p", str(self._pid)]
            try:
                ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
            except (OSError, subprocess.SubprocessError):
                return self._bytes
            self._bytes = largest(ran.stdout) or self._bytes
        return self._bytes


def largest(printed: str) -> float | None:
    """The largest footprint the tool printed, now or at its peak; ``None`` where it printed none."""
    return max((float(number) * _UNITS[unit] for number, unit in _LINE.findall(printed)), default=None)


METER = FootprintMeter
