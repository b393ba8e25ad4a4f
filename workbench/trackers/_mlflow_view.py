"""What MLflow's pages show of an experiment: the columns, the order, the charts.

MLflow keeps which columns a reader sees in the reader's browser; a new reader gets source, models and dataset, and no
figure. But a view can be shared: its state is a tag of the experiment, ``mlflow.sharedViewState.KEY``, that a page
opens with ``?viewStateShareKey=KEY``. So the workbench writes one, with the figures that decide, a scatter chart of
accuracy against memory and against speed, and parallel coordinates. A reader may change it; nothing is forced.

The state is that of MLflow 3's page of runs, as its own "share" button writes it (plain JSON is read as well as
compressed). A server that knows no such tag ignores it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from workbench.trackers.base import VARIANT

VIEW_KEY = "workbench"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
LATEST = "latest"  # tag of the runs of a profile's last build
_VERDICTS = ("recommended", "gate")
_KINDS = ("profile", "format")
_SPEEDS = ("question_s", "decode_tokens_per_s", "peak_memory_bytes")
_PREDICTED = tuple(f"predicted/{name}" for name in _SPEEDS)
_SECTION = "workbench"
_WORKFLOW = "workflowType=machine_learning"  # else the pages' menus are those for agents and their traces
_LEAST_PIXELS = 120  # of a column; a longer name gets more


def accuracy_metric(question_set: str) -> str:
    """Name of the metric that decides."""
    return f"{question_set}/sql_accuracy_ratio"


def latest_variants() -> str:
    """MLflow's search for the variants of each profile's last build."""
    return f"tags.kind = '{VARIANT}' and tags.{LATEST} = 'true'"


def view_state(question_set: str, predicted: bool, before: str = "") -> str:
    """The saved view: which columns, in which order, and which charts.

    Args:
        question_set: the one that decides.
        predicted: whether the newest build's speed and memory are predictions.
        before: the view that is replaced; what its builds needed stays in the charts.
    """
    accuracy = accuracy_metric(question_set)
    speeds = [*(_SPEEDS if not predicted or _shows(before, _SPEEDS) else ())]
    speeds += _PREDICTED if predicted or _shows(before, _PREDICTED) else ()
    metrics = [accuracy, *speeds, "weight_bytes", "bits_per_weight", "divergence/kl_nats"]
    columns = [f"tags.`{name}`" for name in _VERDICTS] + [f"metrics.`{name}`" for name in metrics]
    columns += [f"tags.`{name}`" for name in _KINDS] + ["attributes.`Models`", "attributes.`Dataset`"]
    state = {
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: max(_LEAST_PIXELS, 45 + 7 * len(name.split("`")[1])) for name in columns},
        # One row per variant and profile, without the builds above them, which hold no figures to compare.
        "searchFilter": latest_variants(),
        "orderByKey": f"metrics.`{accuracy}`",
        "orderByAsc": False,
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": _charts(accuracy, speeds),
        "compareRunSections": [
            {"uuid": _SECTION, "name": "Which variant", "display": True, "isReordered": False, "isGenerated": False}
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }
    return json.dumps(state, separators=(",", ":"))


def _shows(view: str, names: Sequence[str]) -> bool:
    return f"metrics.`{names[0]}`" in view


def _charts(accuracy: str, speeds: Sequence[str]) -> list[dict[str, object]]:
    """Accuracy against what it costs, all of it on parallel axes, and each figure by itself."""
    costs = [name for name in speeds if not name.endswith("tokens_per_s")]
    charts: list[dict[str, object]] = [
        {"type": "SCATTER", "xaxis": _axis(name), "yaxis": _axis(accuracy), "runsCountToCompare": 100}
        for name in (*costs, "weight_bytes")
    ]
    axes = [*costs, "weight_bytes", "divergence/kl_nats", accuracy]
    parallel = {"selectedParams": ["recipe"], "selectedMetrics": axes, "showAllRuns": False, "runsCountToCompare": 100}
    charts.append({"type": "PARALLEL", "displayName": "All variants", **parallel})
    bars = (accuracy, *speeds, "weight_bytes", "divergence/kl_nats")
    charts += [{"type": "BAR", "metricKey": name, "displayName": name, "runsCountToCompare": 20} for name in bars]
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    return [{**chart, "uuid": f"workbench-{place}", **common} for place, chart in enumerate(charts)]


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def runs_page(experiment: str) -> str:
    """Fragment of the address of the experiment's runs in the saved view."""
    return f"/#/experiments/{quote(experiment)}/runs?viewStateShareKey={VIEW_KEY}&{_WORKFLOW}"


def compare_page(experiment: str, runs: Sequence[str]) -> str:
    """Fragment of the address of runs side by side."""
    chosen, of = json.dumps(list(runs), separators=(",", ":")), json.dumps([experiment])
    return f"/#/compare-runs?runs={quote(chosen)}&experiments={quote(of)}&{_WORKFLOW}"


def model_page(name: str) -> str:
    """Fragment of the address of a registered model."""
    return f"/#/models/{quote(name)}?{_WORKFLOW}"
