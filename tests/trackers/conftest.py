"""An MLflow store whose tables are made once: that takes seconds, a copy of it none."""

import os
import shutil
from pathlib import Path

import pytest

from workbench.trackers.base import TrackedBuild, TrackedRun
from workbench.trackers.mlflow import TRACKER


@pytest.fixture(scope="session")
def _blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("blank")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    TRACKER.log_build(TrackedBuild("blank", TrackedRun("blank")), None, store, log_weights=False)
    return store / "mlflow.db"


@pytest.fixture
def blank_store(_blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a local store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(_blank, store / "mlflow.db")
    return store
