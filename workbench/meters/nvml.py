"""NVIDIA's driver, asked through NVML: memory of a process on the GPU, and joules the whole GPU has used.

The driver counts what every process holds on a card, the CUDA context and libraries with it, which no allocator inside
the process knows of. Inside a container it may see no process at all, or only under other numbers: then what the whole
card uses more than when the meter was opened stands in, and the scope says so. The energy counter is the card's since
the driver was loaded, in millijoules (GPUs since Volta), renewed some ten times a second; idle power is in it.

The card is the first that ``CUDA_VISIBLE_DEVICES`` lets a process see, by number or by UUID. Source: NVIDIA, NVML API
Reference Guide, nvmlDeviceGetComputeRunningProcesses, nvmlDeviceGetTotalEnergyConsumption.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, ClassVar, Self

from workbench.meters.base import Meter, Quantity

GROWTH = "growth of the whole GPU's used memory: the driver shows no process here"


class NvmlMemoryMeter(Meter):
    """Bytes of a process and its children on the GPU, by the driver."""

    name: ClassVar[str] = "nvml"
    quantity: ClassVar[Quantity] = "memory"
    device: ClassVar[str] = "cuda"
    scope = "GPU memory of the engine's process, by the driver"

    def __init__(self, nvml: Any, handle: Any, pid: int) -> None:
        self._nvml = nvml
        self._handle = handle
        self._pid = pid
        self._at_first = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
        self._shown = False  # whether the driver ever told this process's memory

    @classmethod
    def opened(cls, pid: int) -> Self | None:
        """``None`` without a driver or a card."""
        found = open_card()
        return None if found is None else cls(*found, pid)

    def read(self) -> float | None:
        """Bytes held now; where the driver tells no process's, what the card holds more than at first."""
        nvml = self._nvml
        try:
            running = nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
            own = [one.usedGpuMemory for one in running if one.pid in family(self._pid)]
            known = [int(used) for used in own if used is not None]
            if known:
                self._shown, self.scope = True, type(self).scope
                return float(sum(known))
            if self._shown:
                return None  # it has ended; before its first use of the card it was not shown either
            self.scope = GROWTH
            return float(max(0, int(nvml.nvmlDeviceGetMemoryInfo(self._handle).used) - self._at_first)) or None
        except nvml.NVMLError:
            return None

    def close(self) -> None:
        """Let the driver go."""
        self._nvml.nvmlShutdown()


def open_card() -> tuple[Any, Any] | None:
    """NVML, begun, and the handle of the card that a process sees first; ``None`` where there is none."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"
    try:
        if first.isdigit():
            return nvml, nvml.nvmlDeviceGetHandleByIndex(int(first))
        return nvml, nvml.nvmlDeviceGetHandleByUUID(first)
    except nvml.NVMLError:
        nvml.nvmlShutdown()
        return None


def family(pid: int) -> set[int]:
    """A process and all its children."""
    import psutil

    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}


METER = NvmlMemoryMeter
