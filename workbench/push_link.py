"""A commit on the Hub and the tracker's run of the artifact, each told of the other.

Who looks at a repository finds the experiment and the run that its numbers came from; who looks at the run, or at the
registered version, finds the commit that was published of it (tags ``hub.repository``, ``hub.commit``, ``hub.url``).
Only names and ids travel: a tracking address may be a private one, and may hold a password. A tracker that is not
there, or is down, stops no push: what could not be told is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.addresses import without_login
from workbench.artifact import Manifest
from workbench.errors import PrerequisiteError, WorkbenchError
from workbench.hub_commit import Written
from workbench.plugins import missing_requirements
from workbench.progress import Listener
from workbench.trackers.base import TrackedArtifact, Tracker
from workbench.tracking import short_name

REPOSITORY, COMMIT, URL = "hub.repository", "hub.commit", "hub.url"  # tags


def origins(manifests: Sequence[Manifest], tracking_uri: str | None, store: Path, listener: Listener) -> dict[str, str]:
    """What a commit says of the runs that artifacts came out of, by recipe; those without one are left out."""
    found: dict[str, str] = {}
    try:
        tracker = _tracker()
        for one in manifests:
            origin = tracker.find_run(_tracked(one), tracking_uri, store)
            if origin:
                found[one.name] = f"{tracker.title} experiment {origin.experiment}, run {origin.run_id}"
            else:
                listener.note(f"{one.name}: no run of it is recorded, so the commit names none")
    except WorkbenchError as error:
        listener.note(f"the commit names no run: {error}")
    return found


def link(
    manifests: Sequence[Manifest], done: Written, tracking_uri: str | None, store: Path, listener: Listener
) -> None:
    """Tell the runs and registered versions of artifacts where they were published."""
    tags = {REPOSITORY: done.repository, COMMIT: done.commit, URL: without_login(done.url)}
    known = "" if done.is_new else REPOSITORY  # what was there before is later than the commit that brought it
    try:
        tracker = _tracker()
        for one in manifests:
            told = tracker.tag_published(_tracked(one), tags, tracking_uri, store, known)
            if told:
                listener.note(f"{one.name}: {tracker.title} was told of the commit: {', '.join(told)}")
    except WorkbenchError as error:
        listener.note(f"the upload is done, but the tracker could not be told of it: {error}")


def _tracker() -> Tracker:
    from workbench.trackers.mlflow import TRACKER

    missing = missing_requirements(TRACKER.requires)
    if missing:
        raise PrerequisiteError(f"{TRACKER.title} is not installed; run: pip install {missing[0][1]}")
    return TRACKER


def _tracked(manifest: Manifest) -> TrackedArtifact:
    return TrackedArtifact(short_name(manifest.model), manifest.name, manifest.build_key)
