"""Joules of an Apple chip (CPU, GPU and Neural Engine), as macOS estimates them and its tool ``powermetrics`` tells.

The tool prints one property list for every 200 ms: how long it was (``elapsed_ns``), and under ``processor`` the
millijoules ``cpu_energy``, ``gpu_energy`` and ``ane_energy``, or their mean milliwatts, ``combined_power``. Here they
are added up as they come; a reading waits for the list of its moment and takes its part of it. Idle power and other
processes are in it, memory and screen are not. Apple says: no measure to compare devices by. Intel's Macs tell others.

Only root may run the tool. Another user has this meter for some minutes after ``sudo -v``, or always with the line
``me ALL=(root) NOPASSWD: /usr/bin/powermetrics`` among the sudoers. No signal from here reaches root's process then,
but it writes five times a second, and a write to a pipe that nobody holds ends it: also when this process is killed.
Not tried on a Mac: the tests run a stand-in that prints the shape of lists which others published.

Source: man powermetrics; lists of an M1 and an M2 Ultra in graelo/pumas, tests/data.
"""

from __future__ import annotations

import math
import os
import plistlib
import select
import shutil
import subprocess
import threading
import time
from collections import deque
from contextlib import nullcontext, suppress
from typing import ClassVar, NamedTuple, Self
from xml.parsers.expat import ExpatError

from workbench.meters.base import Meter, Quantity

TOOL = "/usr/bin/powermetrics"
SUDO = "sudo"
PERIOD_S = 0.2
OPTIONS = ("--samplers", "cpu_power,gpu_power", "-i", "200", "-f", "plist", "-b", "1")  # -b: no line comes late
PATIENCE_S = 5.0  # for a list, and for the tool's end
GATHER_S = 0.01  # a list comes in a burst of a thousand lines
END = b"</plist>"  # the NUL that parts two lists comes with the next one, 200 ms later
PARTS = ("cpu_energy", "gpu_energy", "ane_energy")


class Span(NamedTuple):
    """What one list tells: joules used in so many seconds, until a moment of the monotonic clock."""

    joules: float
    seconds: float
    until: float

    def after(self, moment: float) -> float:
        """Joules of its part after a moment."""
        return self.joules * min(max((self.until - moment) / self.seconds, 0.0), 1.0)


class PowermetricsMeter(Meter):
    """Energy of a Mac's chip, by a child process that is ended with the meter."""

    name: ClassVar[str] = "powermetrics"
    quantity: ClassVar[Quantity] = "energy"
    device: ClassVar[str] = "cpu"
    scope = "the Mac's CPU, GPU and Neural Engine, as macOS estimates them"

    def __init__(self, command: list[str]) -> None:
        none = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=none, stdout=subprocess.PIPE, stderr=none, bufsize=0)
        self._joules = 0.0
        self._recent: deque[Span] = deque([Span(0.0, 1.0, -math.inf)], maxlen=100)  # longer than any reading waits
        self._over = False
        self._came = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @classmethod
    def opened(cls, pid: int) -> Self | None:
        """``None`` off macOS, without root's rights or ``sudo`` that asks no password, and on an Intel Mac."""
        if not shutil.which(TOOL) or not (os.geteuid() == 0 or shutil.which(SUDO)):
            return None
        meter = cls([*([] if os.geteuid() == 0 else [SUDO, "-n"]), TOOL, *OPTIONS])
        if meter.read() is not None:
            return meter
        meter.close()
        return None

    def read(self) -> float | None:
        """Joules since the meter was opened; ``None`` once the tool ended or printed what tells no energy."""
        return self.read_at(time.monotonic())

    def read_at(self, moment: float) -> float | None:
        """The same at a moment of the last seconds."""
        with self._came:
            self._came.wait_for(lambda: self._over or self._recent[-1].until >= moment, PATIENCE_S)
            if self._over or self._recent[-1].until < moment:
                return None
            return self._joules - sum(span.after(moment) for span in self._recent)

    def close(self) -> None:
        """End the tool: by the signal that it ends in order by, else by letting go of its pipe, else by force."""
        self._closing.set()
        with suppress(PermissionError):
            self._process.terminate()
        self._thread.join()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            how = ["kill", "-9"] if os.geteuid() == 0 else [SUDO, "-n", "kill"]  # which sudo passes on to the tool
            subprocess.run([*how, str(self._process.pid)], check=False)
            self._process.wait(PATIENCE_S)

    def _follow(self) -> None:
        """Add up lists until the tool ends, the meter is closed or one tells no energy: over a gap there is no sum."""
        held = bytearray()
        with self._process.stdout or nullcontext() as printed:
            while printed and not self._closing.wait(GATHER_S):
                if select.select([printed], [], [], PERIOD_S)[0]:
                    held += (chunk := printed.read(1 << 20))
                    if not chunk or not self._add(held):
                        break
        with self._came:
            self._over = True
            self._came.notify_all()

    def _add(self, held: bytearray) -> bool:
        """Take whole lists out of what came; ``False`` at one that tells no energy."""
        while (at := held.find(END)) >= 0:
            told = energy(bytes(held[: at + len(END)]))
            del held[: at + len(END)]
            if told is None:
                return False
            with self._came:
                self._recent.append(Span(*told, time.monotonic()))
                self._joules += told[0]
                self._came.notify_all()
        return True


def energy(printed: bytes) -> tuple[float, float] | None:
    """Joules and seconds that one property list tells; ``None`` if it is torn or tells them not."""
    try:
        told = plistlib.loads(printed.strip(b"\0\n"), fmt=plistlib.FMT_XML)
        seconds, chip = told["elapsed_ns"] * 1e-9, told["processor"]
        whole = all(part in chip for part in PARTS)
        millijoules = sum(chip[part] for part in PARTS) if whole else chip["combined_power"] * seconds
        return (millijoules * 1e-3, seconds) if seconds > 0 and 0 <= millijoules < math.inf else None
    except (ExpatError, ValueError, TypeError, LookupError):
        return None


METER = PowermetricsMeter
