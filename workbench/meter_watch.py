"""Watching a process with every meter the machine has, while it loads and answers.

A thread reads the memory meters 50 times a second; energy counters are read when a piece of work begins and ends.

    watch = MeterWatch(child.pid, "cpu")
    watch.begin()
    ...
    peak, joules = watch.end()
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import workbench.meters
from workbench import plugins
from workbench.meters.base import Meter

SAMPLE_S = 0.02
HOST_METER = "rss"


@dataclass(frozen=True)
class Metered:
    """What a piece of work took.

    Attributes:
        memory_bytes: largest reading by meter; none where there is no meter.
        energy_j: joules by meter, likewise.
    """

    memory_bytes: dict[str, float]
    energy_j: dict[str, float]


def open_meters(pid: int, device: str) -> list[Meter]:
    """The meters of this machine for a process that works on a device."""
    kinds = [plugins.find_member(workbench.meters, name, "METER") for name in plugins.member_names(workbench.meters)]
    opened = [kind.opened(pid) for kind in kinds if kind is not None and kind.device in ("cpu", device)]
    return [meter for meter in opened if meter is not None]


class MeterWatch:
    """Readings of all meters of one process, from outside, until ``stop``.

    Args:
        pid: of the process.
        device: it works on.
    """

    def __init__(self, pid: int, device: str) -> None:
        meters = self._meters = open_meters(pid, device)
        self._memory = [meter for meter in meters if meter.quantity == "memory"]
        self._energy = [meter for meter in meters if meter.quantity == "energy"]
        self._peak: dict[str, float] = {}
        self._overall: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def scopes(self) -> dict[str, str]:
        """What each meter counts."""
        return {meter.name: meter.scope for meter in self._meters}

    def begin(self, at: float | None = None) -> None:
        """A piece of work begins.

        Args:
            at: when, by ``time.monotonic``, which all processes share: the word of it may come late. Now, if not told.
        """
        with self._lock:
            self._peak = {}
        self._before = self._joules(at)
        self._sample()

    def end(self, at: float | None = None) -> Metered:
        """It ends, or ended ``at`` a moment: what it took."""
        self._sample()
        for meter in self._memory:
            self._note(meter.name, meter.peak())
        now = self._joules(at)
        used = {name: now[name] - before for name, before in self._before.items() if name in now}
        with self._lock:
            return Metered(dict(self._peak), used)

    def stop(self) -> dict[str, float]:
        """Stop reading; the largest of all readings by meter of memory."""
        self._stop.set()
        self._thread.join()
        for meter in (*self._memory, *self._energy):
            meter.close()
        self._memory, self._energy = [], []
        return dict(self._overall)

    def _joules(self, at: float | None) -> dict[str, float]:
        moment = time.monotonic() if at is None else at
        read = {meter.name: meter.read_at(moment) for meter in self._energy}
        return {name: joules for name, joules in read.items() if joules is not None}

    def _run(self) -> None:
        self._sample()
        while not self._stop.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        for meter in self._memory:
            self._note(meter.name, meter.read())

    def _note(self, name: str, value: float | None) -> None:
        if value is None:
            return
        with self._lock:
            self._peak[name] = max(self._peak.get(name, 0.0), value)
            self._overall[name] = max(self._overall.get(name, 0.0), value)
