"""Joules the whole NVIDIA GPU has used since its driver was loaded; see ``workbench/meters/nvml.py``."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from workbench.meters.base import Meter, Quantity
from workbench.meters.nvml import open_card

MILLI = 1e-3


class NvmlEnergyMeter(Meter):
    """The energy counter of the card, idle power and other processes included."""

    name: ClassVar[str] = "nvml_energy"
    quantity: ClassVar[Quantity] = "energy"
    device: ClassVar[str] = "cuda"
    scope = "the whole GPU"

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    @classmethod
    def opened(cls, pid: int) -> Self | None:
        """``None`` without a card, or on one older than Volta, which has no counter."""
        found = open_card()
        if found is None:
            return None
        meter = cls(*found)
        if meter.read() is None:
            meter.close()
            return None
        return meter

    def read(self) -> float | None:
        """Joules since the driver was loaded."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * MILLI
        except self._nvml.NVMLError:
            return None

    def close(self) -> None:
        """Let the driver go."""
        self._nvml.nvmlShutdown()


METER = NvmlEnergyMeter
