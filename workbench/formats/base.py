"""What every format offers: a size before it is made, and the making.

A format turns a ``Checkpoint`` into weight files in a folder. It knows nothing of engines, profiles
or reports. Heavy libraries are imported inside ``convert``.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.journal import Journal
from workbench.processors import available_processors

if TYPE_CHECKING:
    from workbench.formats._draft import Draft

_USUAL_THREADS = 2  # with which the formats' figures of memory were taken
CALIBRATION_MEMORY = 2 << 30  # of texts' states; the rest of a 15.5B model's calibration takes less than 6 GiB
_RAM_PER_THREAD = 40 << 20  # a chunk of 8 MB as it was read, in float32, and as it is written


class Options(BaseModel):
    """Base of a format's options: typed, frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class ConversionContext:
    """What a conversion may need beside the weights.

    Attributes:
        calibration: full training texts (prompt and answer) for formats that look at activations.
        progress: called with (done, total, what) as the work advances.
        threads: to make pieces with; the bytes do not depend on it.
        journal: of finished parts.
        digests: gets the sha256 of each weight file as it is finished, by its name.
        calibration_memory: most bytes for the states of calibration texts; what takes more is kept in files. The
            result does not depend on it.
        device: where what is calibrated is to be computed, ``cpu`` or ``cuda``, as an earlier conversion did; ``None``
            lets the format choose.
    """

    calibration: Sequence[str] = ()
    progress: Callable[[int, int, str], None] = field(default=lambda done, total, what: None)
    threads: int = field(default_factory=available_processors)
    journal: Journal = field(default_factory=Journal)
    digests: dict[str, str] = field(default_factory=dict)
    calibration_memory: int = CALIBRATION_MEMORY
    device: str | None = None


@dataclass(frozen=True)
class BuildWork:
    """What a conversion takes of a machine beside its disk; ``workbench/build_cost.py`` makes time of it.

    Attributes:
        core_s: seconds of one core that all of it would take, reading and writing left out.
        ram_bytes: at most resident in memory.
    """

    core_s: float
    ram_bytes: int


OptionsT = TypeVar("OptionsT", bound=Options)


class Format(ABC, Generic[OptionsT]):
    """One way to store weights.

    Attributes:
        name: the module's name.
        title: as its community calls it.
        options_model: the typed options; declared once.
        architectures: ``model_type`` values it can convert.
        libraries: distributions whose versions change the bytes (part of the build key).
        requires: (module, pip line) pairs that must be importable to convert.
        engines: what serves it, the most usual one first (``workbench/serve_commands.py``).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    options_model: ClassVar[type[Options]]
    architectures: ClassVar[frozenset[str]]
    libraries: ClassVar[tuple[str, ...]]
    requires: ClassVar[tuple[tuple[str, str], ...]] = ()
    engines: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def predicted_bytes(self, checkpoint: Checkpoint, options: OptionsT) -> int:
        """Bytes of the weight files this format would make, from config and tensor headers alone.

        Raises:
            WorkbenchError: the checkpoint cannot be converted; the message says why.
        """

    def size_is_exact(self, checkpoint: Checkpoint) -> bool:
        """Whether ``predicted_bytes`` is exact to the byte; not so where a file carries what is not at hand."""
        return True

    @abstractmethod
    def convert(
        self, checkpoint: Checkpoint, options: OptionsT, out: Path, context: ConversionContext
    ) -> dict[str, Any]:
        """Fill the folder ``out`` with weights, config and tokenizer.

        Returns:
            Facts for the manifest's ``details`` (JSON values).

        Raises:
            WorkbenchError: the checkpoint cannot be converted; the message says why.
        """

    @abstractmethod
    def draft(self, checkpoint: Checkpoint, options: OptionsT, context: ConversionContext) -> Draft:
        """What ``convert`` would write with these, laid out so that each part can be made alone; reads no weights.

        Raises:
            WorkbenchError: as ``convert``; or not ``parts_stand_alone``.
        """

    def parts_stand_alone(self, options: OptionsT) -> bool:
        """Whether single parts of a ``draft`` can be made again; else it takes the whole conversion."""
        return True

    def wants_calibration(self, options: OptionsT) -> bool:
        """Whether ``context.calibration`` must hold texts for these options."""
        return False

    @abstractmethod
    def tolerance(self, options: OptionsT) -> float:
        """How far logits may be from the source's: the most ``|a - b| / |b|`` of centred logits that rounding explains.

        Stated about three times what small models show; a wrong layout, vocabulary or activation is far beyond it.
        """

    def server_kernels(self, checkpoint: Checkpoint, options: OptionsT) -> list[dict[str, Any]]:
        """Which kernels of servers take the artifact: rows of ``kernel``, ``loads`` and ``reason``."""
        return []

    def remarks(self, details: dict[str, Any]) -> list[str]:
        """Lines that a user should read after a conversion, made of what ``convert`` returned."""
        return []

    def working_bytes(self, checkpoint: Checkpoint, options: OptionsT) -> int:
        """Bytes a conversion keeps on the disk while it works, beside what it makes."""
        return 0

    def build_work(self, checkpoint: Checkpoint, options: OptionsT, threads: int) -> BuildWork:
        """Work and memory of a conversion, predicted from what a smaller or larger one took.

        Formats state their own figures; this one is a copy's, which touches every weight once.
        """
        return streamed_work(checkpoint, 2e9, 300 << 20, threads)

    def weight_files(self, folder: Path) -> list[Path]:
        """The weight files of an artifact of this format."""
        return sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf"), *folder.glob("*.onnx*")])

    def check_architecture(self, checkpoint: Checkpoint) -> None:
        """Refuse an architecture this format does not know."""
        if checkpoint.architecture not in self.architectures:
            known = ", ".join(sorted(self.architectures))
            raise WorkbenchError(f"{self.name} cannot convert {checkpoint.architecture}; it knows {known}")


def streamed_work(checkpoint: Checkpoint, weights_per_core_s: float, ram_bytes: int, threads: int) -> BuildWork:
    """Work of a conversion through which the weights pass in chunks.

    Args:
        checkpoint: the source.
        weights_per_core_s: weights that one core transforms in a second.
        ram_bytes: resident with two threads, libraries included; it does not grow with the model.
        threads: to make pieces with; each further one has a chunk of its own in the making.
    """
    further = max(0, threads - _USUAL_THREADS) * _RAM_PER_THREAD
    return BuildWork(checkpoint.parameters / weights_per_core_s, ram_bytes + further)


def copy_small_files(checkpoint: Checkpoint, out: Path) -> None:
    """Copy tokenizer and generation config beside converted weights."""
    for file in checkpoint.small_files():
        shutil.copyfile(file, out / file.name)
