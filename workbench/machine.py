"""What this machine is, so that a measured number can say where it was measured.

Asked without loading torch: the operating system for CPU and memory, ``nvidia-smi`` for NVIDIA GPUs,
``sysctl`` for the Apple chip. A profile matches when the device's own name ends with one of its
``detect`` texts, so that "GeForce RTX 4090" is not found in "GeForce RTX 4090 Laptop GPU"::

    python -c "from workbench.machine import describe; print(describe().label)"
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.hardware import GIB, HardwareProfile
from workbench.plugins import installed_version
from workbench.processors import available_processors


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU: its name as the driver prints it and its memory in bytes, if known."""

    name: str
    memory_bytes: int | None


@dataclass(frozen=True)
class Machine:
    """One computer.

    Attributes:
        cpu: model name of the processor.
        cores: cores this process may use.
        memory_bytes: physical memory.
        system: operating system, its version and the processor's architecture.
        gpus: NVIDIA GPUs.
        apple_chip: e.g. ``Apple M2 Max``; ``None`` elsewhere.
        devices: what torch here can compute on, best first: ``cuda``, ``mps``, ``cpu``.
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    gpus: tuple[Gpu, ...] = ()
    apple_chip: str | None = None
    devices: tuple[str, ...] = ("cpu",)

    @property
    def best_device(self) -> str:
        """The fastest device there is."""
        return self.devices[0]

    @property
    def label(self) -> str:
        """One line naming the machine, e.g. ``AMD EPYC, 2 cores, 23 GiB``."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        host = f"{self.apple_chip or self.cpu}, {cores}, {self.memory_bytes // GIB} GiB"
        return "; ".join([*(_gpu_label(gpu) for gpu in self.gpus), host])

    def matches(self, profile: HardwareProfile) -> bool:
        """Whether this machine is the profile's: every machine is a ``cpu``; others go by the device's name."""
        if profile.backend == "cpu":
            return True
        device = {"cuda": "cuda", "metal": "mps"}[profile.backend]
        names = [gpu.name for gpu in self.gpus] if device == "cuda" else [self.apple_chip or ""]
        named = any(name.lower().endswith(text.lower()) for name in names for text in profile.detect)
        return named and device in self.devices


def describe(quick: bool = False) -> Machine:
    """This machine.

    Args:
        quick: do not load torch; trust that a torch with CUDA can use the GPU the driver shows.
    """
    import psutil

    gpus, chip = _nvidia_gpus(), _apple_chip()
    return Machine(
        cpu=_cpu_name(),
        cores=available_processors(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        gpus=gpus,
        apple_chip=chip,
        devices=_likely_devices(gpus, chip) if quick else _torch_devices(),
    )


def processor_label(device: str = "cpu") -> str:
    """What computes on a device, as far as sums of floats depend on it.

    ``AMD EPYC, family 26, model 2, AVX512``: kernels go by what the processor can do and by its caches, and in a
    virtual machine many kinds bear one name. Of a GPU its name. Loads torch.
    """
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    facts = [f"{key.removeprefix('cpu ')} {value}" for key in ("cpu family", "model") if (value := _cpu_fact(key))]
    return ", ".join([_cpu_name(), *facts, torch.backends.cpu.get_cpu_capability()])


def torch_is_cpu_only() -> bool:
    """Whether the installed torch was built without CUDA, by its version alone; also when there is none."""
    return (installed_version("torch") or "+cpu").endswith("+cpu")


def _gpu_label(gpu: Gpu) -> str:
    return gpu.name if gpu.memory_bytes is None else f"{gpu.name}, {gpu.memory_bytes // GIB} GiB"


def _likely_devices(gpus: tuple[Gpu, ...], chip: str | None) -> tuple[str, ...]:
    if gpus and not torch_is_cpu_only():
        return ("cuda", "cpu")
    return ("mps", "cpu") if chip else ("cpu",)


def _torch_devices() -> tuple[str, ...]:
    try:
        import torch
    except ModuleNotFoundError:
        return ("cpu",)
    found = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    return (*(device for device, usable in found if usable), "cpu")


@cache
def _cpu_name() -> str:
    return _cpu_fact("model name") or _apple_chip() or platform.processor() or platform.machine()


@cache
def _cpu_fact(wanted: str) -> str | None:
    """What Linux says of the first processor under a key."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == wanted and value.strip():
                return value.strip()
    return None


@cache
def _apple_chip() -> str | None:
    if platform.system() != "Darwin":
        return None
    name = _output(["sysctl", "-n", "machdep.cpu.brand_string"]).strip()
    return name if name.startswith("Apple") else None


def _nvidia_gpus() -> tuple[Gpu, ...]:
    text = _output(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
    rows = [line.rpartition(",") for line in text.splitlines() if "," in line]
    return tuple(Gpu(name.strip(), int(mib) * 1024**2 if mib.strip().isdigit() else None) for name, _, mib in rows)


def _output(command: list[str]) -> str:
    """What a small tool prints; nothing when it is not there, fails or hangs."""
    tool = shutil.which(command[0])
    if tool is None:
        return ""
    try:
        result = subprocess.run([tool, *command[1:]], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout
