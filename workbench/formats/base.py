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
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from workbench.checkpoint import Checkpoint
from workbench.errors import WorkbenchError
from workbench.journal import Journal
from workbench.processors import available_processors


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
    """

    calibration: Sequence[str] = ()
    progress: Callable[[int, int, str], None] = field(default=lambda done, total, what: None)
    threads: int = field(default_factory=available_processors)
    journal: Journal = field(default_factory=Journal)
    digests: dict[str, str] = field(default_factory=dict)


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
    """

    name: ClassVar[str]
    title: ClassVar[str]
    options_model: ClassVar[type[Options]]
    architectures: ClassVar[frozenset[str]]
    libraries: ClassVar[tuple[str, ...]]
    requires: ClassVar[tuple[tuple[str, str], ...]] = ()

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

    def working_bytes(self, checkpoint: Checkpoint, options: OptionsT) -> int:
        """Bytes a conversion keeps on the disk while it works, beside what it makes."""
        return 0

    def weight_files(self, folder: Path) -> list[Path]:
        """The weight files of an artifact of this format."""
        return sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf"), *folder.glob("*.onnx*")])

    def check_architecture(self, checkpoint: Checkpoint) -> None:
        """Refuse an architecture this format does not know."""
        if checkpoint.architecture not in self.architectures:
            known = ", ".join(sorted(self.architectures))
            raise WorkbenchError(f"{self.name} cannot convert {checkpoint.architecture}; it knows {known}")


def copy_small_files(checkpoint: Checkpoint, out: Path) -> None:
    """Copy tokenizer and generation config beside converted weights."""
    for file in checkpoint.small_files():
        shutil.copyfile(file, out / file.name)
