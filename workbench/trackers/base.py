"""What every tracker is handed: plain data about one build, ready to be recorded.

A build is one parent run with one child run per artifact. Nothing here knows a tracking library: a
tracker translates these records, so that the report on disk stays the source and any tracker can be
filled from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

VARIANT = "variant"  # tag ``kind`` of an artifact's run; that of the build above it is ``build``


@dataclass(frozen=True)
class TrackedDataset:
    """A dataset that went into a run: who it is, never what it says.

    Attributes:
        name: e.g. ``heldout``.
        digest: hex sha256 over its content.
        context: what it was for, ``evaluation`` or ``calibration``.
        rows: how many questions or texts.
        source: where it came from: a file, or ``bundled``.
        columns: names of its columns, all of them text.
        facts: further figures, e.g. tokens.
    """

    name: str
    digest: str
    context: str
    rows: int
    source: str
    columns: tuple[str, ...] = ()
    facts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedModel:
    """An artifact fit to be registered as a version of a model.

    Attributes:
        name: of the model, e.g. ``sqlcoder-nano``; each of its artifacts is a version.
        recipe: which artifact.
        build_key: equal keys mean equal artifacts, which are registered once.
        profile: the hardware profile it was built for here.
        tags: what versions are filtered by; the newest build's stand.
        description: Markdown for the version's page.
        serving: what a server needs beside the weights: runtime, prompt, context in tokens, beams.
    """

    name: str
    recipe: str
    build_key: str
    profile: str
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""
    serving: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedChoice:
    """What a build recommends for its profile, to be reached under one name (``rtx4090-best``).

    Attributes:
        model: name of the registered model.
        profile: of the build.
        recipe: the recommended artifact's, or ``None``.
        reason: why this one, or why none.
    """

    model: str
    profile: str
    recipe: str | None
    reason: str


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
        note: Markdown for the run's page.
        datasets: what it was evaluated on and calibrated with.
        model: to register, if the run's artifact can serve.
    """

    name: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: list[Path] = field(default_factory=list)
    weight_reference: Path | None = None
    weight_files: list[Path] = field(default_factory=list)
    note: str = ""
    datasets: list[TrackedDataset] = field(default_factory=list)
    model: TrackedModel | None = None


@dataclass(frozen=True)
class TrackedBuild:
    """One build: a parent run and one child per artifact.

    Attributes:
        experiment: shared by all builds of a model.
        parent: the build.
        children: its artifacts.
        choice: which of them is recommended; ``None`` registers no recommendation.
        question_set: the one that decides, by which runs are compared; empty for none.
        predicted: whether speed and memory are predictions, under names that say so.
        note: Markdown for the experiment's page.
        recording: the same for every recording of one build folder; what an earlier one left unfinished is cleared
            away by it. Empty for none.
    """

    experiment: str
    parent: TrackedRun
    children: list[TrackedRun] = field(default_factory=list)
    choice: TrackedChoice | None = None
    question_set: str = ""
    predicted: bool = False
    note: str = ""
    recording: str = ""


@dataclass(frozen=True)
class TrackingReceipt:
    """Where a build was recorded.

    Attributes:
        uri: the tracking store, without credentials.
        experiment_id: the tracker's own id.
        parent_run_id: id of the build's run.
        child_run_ids: ids of the artifacts' runs, in the order of the children.
        runs_page: address of all runs of the experiment, in columns that compare them; for a local store the part
            after the address of ``workbench ui``.
        compare_page: likewise, of this build's artifacts side by side.
        model_page: likewise, of the registered model.
        versions: versions of the registered model, by recipe.
    """

    uri: str
    experiment_id: str
    parent_run_id: str
    child_run_ids: list[str]
    runs_page: str = ""
    compare_page: str = ""
    model_page: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedArtifact:
    """An artifact whose runs are looked for.

    Attributes:
        model: name of the registered model, e.g. ``sqlcoder-nano``.
        recipe: which artifact.
        build_key: equal keys mean equal artifacts.
    """

    model: str
    recipe: str
    build_key: str


@dataclass(frozen=True)
class TrackedOrigin:
    """The run that an artifact came out of, as others may be told of it: names and ids, no address."""

    experiment: str
    run_id: str


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

    @abstractmethod
    def find_run(self, artifact: TrackedArtifact, tracking_uri: str | None, store: Path) -> TrackedOrigin | None:
        """The newest run of an artifact; ``None`` where there is no store, or none of its runs in it.

        Args:
            artifact: whose.
            tracking_uri: as for ``log_build``.
            store: likewise.

        Raises:
            WorkbenchError: the store cannot be reached or read.
        """

    @abstractmethod
    def tag_published(
        self, artifact: TrackedArtifact, tags: Mapping[str, str], tracking_uri: str | None, store: Path, known: str = ""
    ) -> list[str]:
        """Put tags on an artifact's newest run and on its versions in the registry.

        Args:
            artifact: whose.
            tags: by name; a tag that is there already is replaced.
            tracking_uri: as for ``log_build``.
            store: likewise.
            known: name of one of the tags; what bears it with this value already is left as it is. Empty for none.

        Returns:
            What was tagged, in words.

        Raises:
            WorkbenchError: the store cannot be reached or written.
        """
