"""MLflow's own pages in a browser: what a reader sees of recorded builds without setting anything up.

With ``WORKBENCH_SCREENSHOTS=FOLDER`` the pages are kept as pictures; ``WORKBENCH_SCREENSHOT_STORE=STORE`` then shows a
store of real builds in place of mock artifacts::

    WORKBENCH_SCREENSHOTS=docs WORKBENCH_SCREENSHOT_STORE=artifacts pytest tests -k "pages or first_screen"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from browser import keep, opened, shown_store
from mlflow_servers import running
from tracked_artifacts import build_of, child, mock_artifact

from workbench.trackers._mlflow_view import VIEW_TAG, accuracy_metric, compare_page, model_page, runs_page
from workbench.trackers.mlflow import TRACKER

SHOWN_MS = 120_000  # MLflow's pages are slow to come on a busy machine
ASSISTANT_SHOWN = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"  # else it takes a quarter of the page


@dataclass
class Site:
    """A served store, and what its pages should show."""

    address: str
    experiment: str
    variants: dict[str, str]
    build: str
    model: str


def recorded(store: Path) -> None:
    """Two builds, so that the second one's runs are the latest, with two variants and files on the build's run."""
    artifacts = [mock_artifact(store / name, name, f"key of {name}") for name in ("q4", "q8")]
    page, plots = store / "report.html", store / "plots"
    page.write_text("<!doctype html><h1>The report of a build</h1>")
    plots.mkdir()
    for right in (0.5, 0.9):
        children = [
            child(one, metrics={"heldout/sql_accuracy_ratio": right + place / 100, "question_s": 1.0 + place})
            for place, one in enumerate(artifacts)
        ]
        build = build_of(*children, recommended="q4")
        TRACKER.log_build(
            replace(build, parent=replace(build.parent, artifacts=[page, plots], note="**Recommended: q4**")),
            None,
            store,
            log_weights=False,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pages")
    store = shown_store() or folder
    if store == folder:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            recorded(store)
    uri = f"sqlite:///{store}/mlflow.db"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = next(one for one in client.search_experiments() if VIEW_TAG in one.tags)
    runs = client.search_runs([experiment.experiment_id], "tags.latest = 'true'")
    variants = {run.info.run_name: run.info.run_id for run in runs if run.data.tags["kind"] == "variant"}
    builds = [run.info for run in runs if run.data.tags["kind"] == "build"]
    build = max(builds, key=lambda info: info.start_time).run_id
    model = client.search_registered_models()[0].name
    with running(["ui", "--backend-store-uri", uri, "--workers", "1"], folder / "log.txt") as (address, _):
        yield Site(address, experiment.experiment_id, variants, build, model)


@contextlib.contextmanager
def page_at(chromium: Any, url: str, sign: str) -> Iterator[Any]:
    """A page once it shows a text; its browser has been told that MLflow's assistant was shown before."""
    known = {"origin": url.split("/#", maxsplit=1)[0], "localStorage": [{"name": ASSISTANT_SHOWN, "value": "true"}]}
    with opened(chromium, url, width=1500, height=760, storage_state={"origins": [known]}) as seen:
        seen.page.get_by_text(sign).first.wait_for(timeout=SHOWN_MS)
        for button in seen.page.locator("[role=alert] button[aria-label]").all():
            button.click()
        yield seen.page


def test_the_runs_open_with_the_figures_in_columns(chromium: Any, site: Site) -> None:
    name = next(iter(site.variants))
    with page_at(chromium, site.address + runs_page(site.experiment), name) as page:
        for column in ("recommended", "gate", accuracy_metric("heldout"), "question_s"):
            page.get_by_role("columnheader", name=column).first.wait_for(timeout=SHOWN_MS)
        shown = page.inner_text("body")
        assert f"{len(site.variants)} matching runs" in " ".join(shown.split())
        assert all(one in shown for one in site.variants)
        assert "Error loading shared view state" not in shown
        keep(page, "mlflow-runs")


def test_charts_hold_accuracy_against_cost(chromium: Any, site: Site) -> None:
    url = site.address + runs_page(site.experiment) + "&compareRunsMode=CHART"
    with page_at(chromium, url, "Which variant") as page:
        page.locator(".js-plotly-plot .points path").first.wait_for(timeout=SHOWN_MS)
        keep(page, "mlflow-charts")


def test_the_last_builds_variants_stand_side_by_side(chromium: Any, site: Site) -> None:
    url = site.address + compare_page(site.experiment, list(site.variants.values()))
    with page_at(chromium, url, f"Comparing {len(site.variants)} Runs") as page:
        page.locator(".js-plotly-plot .parcoords").first.wait_for(timeout=SHOWN_MS)
        page.get_by_text("Run details").wait_for(timeout=SHOWN_MS)
        shown = page.inner_text("body")
        assert all(one in shown for one in site.variants)
        assert accuracy_metric("heldout") in shown


def test_the_registered_model_shows_versions_and_its_alias(chromium: Any, site: Site) -> None:
    with page_at(chromium, site.address + model_page(site.model), "Version 1") as page:
        page.get_by_text("-best").first.wait_for(timeout=SHOWN_MS)
        assert "env-manager local" in page.inner_text("body")


def test_the_report_opens_among_the_builds_files(chromium: Any, site: Site) -> None:
    place = f"/#/experiments/{site.experiment}/runs/{site.build}/artifacts/report.html?workflowType=machine_learning"
    url = site.address + place
    with page_at(chromium, url, "report.html") as page:
        frame = page.frame_locator("iframe").first
        frame.locator("h1").first.wait_for(timeout=SHOWN_MS)
        page.get_by_text("plots").first.wait_for(timeout=SHOWN_MS)
