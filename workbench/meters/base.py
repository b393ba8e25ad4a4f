"""What every meter offers: a number now, about a process that another one watches.

An engine that counts its own memory counts what it knows of: not the libraries, not the driver's share, not another
allocator beside its own. So memory and energy are read by the parent, while the child works. A meter of memory tells
bytes held now, and its peak is the largest of many readings; a meter of energy tells joules since some moment, and two
readings tell what was used between. ``None`` stands for what a machine does not offer; it is never zero.

    for meter in open_meters(child.pid, "cuda"):
        print(meter.name, meter.read(), meter.scope)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self

Quantity = Literal["memory", "energy"]


class Meter(ABC):
    """A meter of one process or of the device it works on; use its ``opened``.

    Attributes:
        name: the module's name.
        quantity: ``memory`` in bytes, or ``energy`` in joules.
        device: ``cpu``, ``cuda`` or ``mps``: where what it measures lies; a meter of the CPU reads on any device.
        scope: what is counted, as a report says it.
    """

    name: ClassVar[str]
    quantity: ClassVar[Quantity]
    device: ClassVar[str]
    scope: str

    @classmethod
    @abstractmethod
    def opened(cls, pid: int) -> Self | None:
        """A meter that watches a process and its children; ``None`` where the machine offers none."""

    @abstractmethod
    def read(self) -> float | None:
        """Bytes held now, or joules since some fixed moment; ``None`` when it cannot be read now."""

    def read_at(self, moment: float) -> float | None:
        """What it read at a moment of the last seconds, by ``time.monotonic``; a meter that keeps no past reads now."""
        return self.read()

    def peak(self) -> float | None:
        """The most that a process ever held, where the system keeps it: what readings may have missed."""
        return None

    def close(self) -> None:
        """Let go of what was opened."""
        return
