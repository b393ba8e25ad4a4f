"""What a plan knows of engines beyond their calibration: the month to expect them of, and this machine's own errors.

Experience(as_of="2024-06", ledger=read_ledger(store, machine.label, PREDICTOR), machine=machine)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.hardware import HardwareProfile
from workbench.ledger import NAME, Ledger, read_ledger
from workbench.machine import Machine, describe
from workbench.measure import Measurement
from workbench.speed import PREDICTOR, Generation, generation_at, generations


@dataclass(frozen=True)
class Experience:
    """Which engines to expect and what is known of them here.

    Attributes:
        as_of: month of the engines' builds, ``YYYY-MM``; ``None`` expects the newest.
        ledger: what was predicted and measured on this machine, if there is a store with one.
        machine: this machine, if there is a ledger.
        store: folder that artifacts are made in, whose disk must hold them.
    """

    as_of: str | None = None
    ledger: Ledger | None = None
    machine: Machine | None = None
    store: Path = Path()

    def generations(self, runtime: str, profile: HardwareProfile) -> list[Generation]:
        """An engine's generations, the one to expect first, the others from the newest."""
        expected = generation_at(runtime, profile, self.as_of)
        return [expected, *(one for one in generations(runtime, profile) if one != expected)]

    def learnt(
        self, predictions: Sequence[Measurement], runtime: str, profile: HardwareProfile, parameters: int
    ) -> tuple[Measurement, ...]:
        """Predictions as this machine's errors widen and move them; unchanged where it is not the profile's.

        Only the generation that runs here was measured: an older one's predictions stay.
        """
        newest = generations(runtime, profile)[0].name
        told = {one.conditions.get("generation") for one in predictions}
        if not self.tells_of(profile) or self.ledger is None or told != {newest}:
            return tuple(predictions)
        return self.ledger.learnt(predictions, runtime, parameters)

    def tells_of(self, profile: HardwareProfile) -> bool:
        """Whether the ledger's machine is the profile's and something was measured there."""
        return bool(self.ledger and self.ledger.entries and self.machine and self.machine.matches(profile))

    def record(self) -> dict[str, Any]:
        """The ledger as JSON values; empty without one."""
        return self.ledger.record() if self.ledger and self.ledger.entries else {}

    def sentences(self) -> list[str]:
        """What was seen of each engine, in one sentence each."""
        if not self.ledger or not self.ledger.entries:
            return []
        by_engine: dict[str, list[str]] = {}
        most: dict[str, int] = {}
        for error in self.ledger.errors():
            spread = f" ({error.low:.2f}-{error.high:.2f})" if error.artifacts > 1 else ""
            by_engine.setdefault(error.runtime, []).append(f"{_short(error.figure)} {error.median:.2f}{spread}")
            most[error.runtime] = max(most.get(error.runtime, 0), error.artifacts)
        return [
            f"Measured / predicted on this machine so far, {engine}, {most[engine]} "
            f"artifact{'s' if most[engine] > 1 else ''}: {', '.join(told)}."
            for engine, told in by_engine.items()
        ]


UNTAUGHT = Experience()
_SHORT = {
    "weight_bytes": "file", "peak_memory_bytes": "memory", "ttft_s": "first token", "prefill_tokens_per_s": "prefill",
    "decode_tokens_per_s": "decode", "question_s": "question", "convert_s": "making",
}  # fmt: skip


def _short(figure: str) -> str:
    return _SHORT.get(figure, figure)


def experience(store: Path, as_of: str | None = None) -> Experience:
    """What a store's ledger tells; this machine is only asked about where there is one.

    Args:
        store: folder of artifacts and reports.
        as_of: month of the engines' builds.

    Raises:
        StorageError: the ledger is there and cannot be read.
    """
    if not (store / NAME).is_file():
        return Experience(as_of, store=store)
    machine = describe(quick=True)
    return Experience(as_of, read_ledger(store, machine.label, PREDICTOR), machine, store)
