"""Joules of the processor by RAPL, the counters of Intel's and AMD's processors that Linux shows as files.

``/sys/class/powercap/intel-rapl:0/energy_uj`` is the first package's counter in microjoules; it goes back to zero
beyond ``max_energy_range_uj``, within an hour at most, within minutes at full power. A reading below the last one tells
such a turn, so a meter has to be read more often than that: here when each workload begins and ends. Packages are
added, with their memory where ``dram`` has a counter of its own (``core`` and ``uncore`` are parts of the package).
Most systems let only root read them (CVE-2020-8694): then there is no meter, and the energy is not known.

Source: docs.kernel.org, power/powercap/powercap.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from workbench.meters.base import Meter, Quantity

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6


@dataclass
class Counter:
    """One zone's counter, its turns undone.

    Attributes:
        folder: of the zone.
        range_uj: at which it begins anew.
        last_uj: reading.
        turned_uj: of all turns so far.
    """

    folder: Path
    range_uj: int
    last_uj: int
    turned_uj: int = 0

    def read_uj(self) -> int:
        """Microjoules since the zone's zero before the counter was opened."""
        now = _number(self.folder / "energy_uj")
        if now < self.last_uj:
            self.turned_uj += self.range_uj
        self.last_uj = now
        return self.turned_uj + now


class RaplMeter(Meter):
    """Energy of all packages and of the memory that is not in them."""

    name: ClassVar[str] = "rapl"
    quantity: ClassVar[Quantity] = "energy"
    device: ClassVar[str] = "cpu"
    scope = "the processor's packages"

    def __init__(self, counters: list[Counter]) -> None:
        self._counters = counters

    @classmethod
    def opened(cls, pid: int) -> Self | None:
        """``None`` where there is no counter, or one that may not be read."""
        try:
            counters = [
                Counter(folder, _number(folder / "max_energy_range_uj"), _number(folder / "energy_uj"))
                for folder in sorted(POWERCAP.glob("intel-rapl:*"))
                if _counts(folder)
            ]
        except (OSError, ValueError):
            return None
        return cls(counters) if counters else None

    def read(self) -> float | None:
        """Joules since some moment before the meter was opened."""
        try:
            return sum(counter.read_uj() for counter in self._counters) * MICRO
        except (OSError, ValueError):
            return None


def _counts(zone: Path) -> bool:
    """Whether a zone is a package, or memory; ``psys`` is the whole board, the packages in it."""
    name = (zone / "name").read_text(encoding="ascii").strip()
    return name.startswith("package") or name == "dram"


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


METER = RaplMeter
