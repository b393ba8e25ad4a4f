"""Hardware profiles: the facts of a machine that decide what fits and how fast it runs.

One YAML per machine in ``hardware_profiles/``. Every figure is a pair of value and source, so a
reader can check where it comes from. A chip that was sold with several memory sizes
lists them; ``--profile m2-max:64`` picks one, the default is the file's first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench.errors import ConfigError, WorkbenchError
from workbench.recipe import Backend, check_document, read_yaml

GIB = 1024**3
Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class Figure(BaseModel):
    """One number with its source (a URL or document); ``None`` where the vendor publishes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None = Field(gt=0, allow_inf_nan=False)
    source: str = Field(min_length=8)


class Memory(BaseModel):
    """Sizes the machine was sold with and the share a model may use.

    Attributes:
        sizes_gib: memory in GiB, the default first; empty means "ask the operating system".
        usable_share: part of it that weights, cache and activations may take
            (the rest is the driver's, the desktop's or the operating system's).
        usable_share_at: sizes (GiB) with another share, as small Macs have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sizes_gib: tuple[Size, ...]
    usable_share: Share
    usable_share_at: dict[float, Share] = Field(default_factory=dict)
    source: str = Field(min_length=8)
    usable_source: str = Field(min_length=8)

    def share(self, size_gib: float) -> float:
        """Part of a memory of this size that a model may use."""
        return self.usable_share_at.get(size_gib, self.usable_share)


class HardwareProfile(BaseModel):
    """The facts of one machine.

    Attributes:
        name: same as the file's stem.
        title: as its vendor calls it.
        backend: which recipes suit it: ``cuda``, ``metal`` or ``cpu``.
        detect: texts one of which stands in the device's own name when we run on this machine.
        memory: device memory (unified memory on Apple machines).
        bandwidth_gb_per_s: memory bandwidth, decimal GB/s.
        fp16_tflops: dense fp16/bf16 multiply-accumulate rate with fp32 accumulation, TFLOP/s.
        int8_tops: dense int8 rate, TOP/s.
        capability: CUDA compute capability or Metal family, as text.
        tdp_w: board or package power limit in watts.
        chosen_gib: the memory size in force, in GiB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    backend: Backend
    detect: tuple[str, ...]
    memory: Memory
    bandwidth_gb_per_s: Figure
    fp16_tflops: Figure
    int8_tops: Figure
    capability: str | None
    tdp_w: Figure
    chosen_gib: float = 0.0

    @model_validator(mode="after")
    def _default_memory(self) -> Self:
        if not self.chosen_gib:
            size = self.memory.sizes_gib[0] if self.memory.sizes_gib else _system_memory_gib()
            object.__setattr__(self, "chosen_gib", size)
        return self

    @property
    def memory_bytes(self) -> int:
        """Device memory in bytes."""
        return int(self.chosen_gib * GIB)

    @property
    def usable_bytes(self) -> int:
        """Bytes a model may use."""
        return int(self.memory_bytes * self.memory.share(self.chosen_gib))

    def with_memory(self, size_gib: float) -> HardwareProfile:
        """The same machine with another of its memory sizes.

        Raises:
            WorkbenchError: the chip was not sold with that size.
        """
        if size_gib not in self.memory.sizes_gib:
            sizes = ", ".join(f"{size:g}" for size in self.memory.sizes_gib) or "what it has"
            raise WorkbenchError(f"{self.name} comes with {sizes} GiB of memory, not {size_gib:g}; choose one of these")
        return self.model_copy(update={"chosen_gib": size_gib})


def load_profile(path: Path) -> HardwareProfile:
    """Read one profile.

    Raises:
        ConfigError: with every fault of the file.
    """
    document = read_yaml(path)
    profile, faults = check_document(HardwareProfile, document, path)
    if "chosen_gib" in document:
        faults.append("chosen_gib: unknown key")  # chosen by the user of a profile, never by the file
    if profile is None or faults:
        raise ConfigError(str(path), faults)
    return profile


def _system_memory_gib() -> float:
    import psutil

    return psutil.virtual_memory().total / GIB
