"""The cost of making an artifact on this machine: memory, disk and time, all predicted.

Weights stream through a conversion, so its time is the larger of two: reading and writing at the disk's rate, and the
cores' work (each format states its own: ``Format.build_work``). Both rates are those of one machine, two cores of an
AMD EPYC with a virtual disk (README, "Converting alone"); cores are assumed to share the work evenly. No conversion
uses a GPU, so none takes video memory. A download's time is the network's and is left out; its bytes count.

Example::

    build_cost(checkpoint, get_format("gguf"), options, file_bytes, host()).seconds
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.checkpoint import Checkpoint
from workbench.formats.base import Format, Options
from workbench.processors import available_processors
from workbench.sizes import told_apart

DISK_BYTES_PER_S = 1.36e9  # 31.03 GB read and as much written in 45.5 s (README, fp16)
START_S = 2.0  # Python, the libraries and the tokenizer


@dataclass(frozen=True)
class Host:
    """What conversions may use here.

    Attributes:
        cores: processors granted to this process.
        memory_bytes: physical memory.
        free_disk_bytes: of the folder artifacts go to.
    """

    cores: int
    memory_bytes: int
    free_disk_bytes: int


@dataclass(frozen=True)
class BuildCost:
    """What a conversion takes; predicted.

    Attributes:
        peak_ram_bytes: at most resident in memory.
        peak_vram_bytes: of a GPU.
        download_bytes: to be fetched first.
        disk_bytes: download, artifact and working files together.
        seconds: without the download.
        obstacle: why it cannot be made here; ``None`` where it can.
    """

    peak_ram_bytes: int
    peak_vram_bytes: int
    download_bytes: int
    disk_bytes: int
    seconds: float
    obstacle: str | None = None


def host(folder: Path = Path()) -> Host:
    """This machine; ``folder`` need not exist yet."""
    import shutil

    import psutil

    place = folder.absolute()
    existing = next(path for path in (place, *place.parents) if path.exists())
    return Host(available_processors(), psutil.virtual_memory().total, shutil.disk_usage(existing).free)


def build_cost(
    checkpoint: Checkpoint, weights: Format[Options], options: Options, file_bytes: int, here: Host
) -> BuildCost:
    """What it takes to convert a checkpoint here.

    Args:
        checkpoint: its tensor headers suffice.
        weights: the format.
        options: of the format.
        file_bytes: of the artifact's weights.
        here: the machine.
    """
    tensors = checkpoint.tensors.values()
    source = sum(info.nbytes for info in tensors)
    present = {file for file in {info.file for info in tensors} if file.is_file()}
    download = sum(info.nbytes for info in tensors if info.file not in present)
    disk = download + file_bytes + weights.working_bytes(checkpoint, options)
    work = weights.build_work(checkpoint, options, here.cores)
    seconds = START_S + max((source + file_bytes) / DISK_BYTES_PER_S, work.core_s / here.cores)
    return BuildCost(work.ram_bytes, 0, download, disk, seconds, _obstacle(disk, work.ram_bytes, here))


def _obstacle(disk: int, ram: int, here: Host) -> str | None:
    if disk > here.free_disk_bytes:
        wanted, there = told_apart(disk, here.free_disk_bytes)
        return f"making it takes {wanted} GiB of disk and {there} are free here"
    if ram > here.memory_bytes:
        wanted, there = told_apart(ram, here.memory_bytes)
        return f"making it takes {wanted} GiB of memory and this machine has {there}"
    return None
