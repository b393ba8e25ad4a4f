"""What every tracker is handed: plain data about one build, ready to be recorded.

A build is one parent run with one child run per artifact. Nothing here knows a tracking library: a
tracker translates these records, so that the report on disk stays the source and any tracker can be
filled from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class TrackedRun:
    """One run.

    Attributes:
        name: shown in the tracker's table.
        params: what was asked for, as text.
        metrics: what came out; each name carries its unit.
        tags: what runs are filtered by; ``error`` marks a run that failed.
        artifacts: files or folders small enough to upload; those that are missing are left out.
        weight_reference: folder of the weights, recorded by its path and digests.
        weight_files: the files to upload when the user asks for the weights themselves.
    """

    name: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: list[Path] = field(default_factory=list)
    weight_reference: Path | None = None
    weight_files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class TrackedBuild:
    """One build: a parent run and one child per artifact."""

    experiment: str
    parent: TrackedRun
    children: list[TrackedRun] = field(default_factory=list)


@dataclass(frozen=True)
class TrackingReceipt:
    """Where a build was recorded.

    Attributes:
        uri: the tracking store, without credentials.
        experiment_id: the tracker's own id.
        parent_run_id: id of the build's run.
        child_run_ids: ids of the artifacts' runs, in the order of the children.
    """

    uri: str
    experiment_id: str
    parent_run_id: str
    child_run_ids: list[str]


class Tracker(ABC):
    """An experiment tracker.

    Attributes:
        name: the module's name.
        title: as its makers call it.
        requires: (module, pip line) pairs that must be importable.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    requires: ClassVar[tuple[tuple[str, str], ...]]

    @abstractmethod
    def log_build(
        self, build: TrackedBuild, tracking_uri: str | None, store: Path, log_weights: bool
    ) -> TrackingReceipt:
        """Record one build.

        Args:
            build: what to record.
            tracking_uri: where; ``None`` lets the tracker's own environment variable or ``store`` decide.
            store: folder of the local store.
            log_weights: upload ``weight_files`` too, not only their path and digests.

        Raises:
            WorkbenchError: the store cannot be reached or written; the message says how to go on.
        """
