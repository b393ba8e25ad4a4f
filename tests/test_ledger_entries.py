"""What a build writes into the ledger, and what a plan shows of it."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from workbench.cli import cli
from workbench.ledger import NAME, read_ledger
from workbench.ledger_entries import keep_in_ledger, predictions_alike, predictions_beside, timed_workload
from workbench.measure import Measurement
from workbench.plan_request import PlanRequest, plan_model
from workbench.progress import SILENT
from workbench.report import ArtifactReport
from workbench.request import BuildRequest
from workbench.speed import PREDICTOR
from workbench.work import prepare

RECIPE = "gguf-q8_0"
TIMED = {"prompt_tokens": 333, "new_tokens": 48, "batch": 1, "beams": 1}
MODEL = "sqlcoder-nano"


@pytest.fixture
def work(tmp_path):
    return prepare(BuildRequest("cpu", (RECIPE,), out=tmp_path / "store"), SILENT)


def measured(work, share):
    """A report whose speeds are a share of what is predicted for the timed workload."""
    planned = work.plan.chosen[0]
    found = predictions_beside(work, planned, [figure("ttft_s", 1.0, "s", work)])
    predicted = next(one.value for one in found if one.name == "ttft_s")
    figures = (
        figure("ttft_s", predicted / share, "s", work),
        figure("decode_tokens_per_s", 70.0, "tokens/s", work),
        Measurement("weight_bytes", 6e6, "bytes", "measured", "file sizes"),
    )
    beside = predictions_beside(work, planned, figures)
    return ArtifactReport(
        RECIPE, "somewhere", "llama_cpp 1", "cpu", convert_s=2.5, measurements=figures, predictions=beside
    )


def figure(name, value, unit, work):
    return Measurement(name, value, unit, "measured", work.machine.label, samples=7, conditions=TIMED)


def test_an_entry_holds_predicted_and_measured_of_the_same_workload(work):
    keep_in_ledger(work, [measured(work, 0.5)])
    (entry,) = read_ledger(work.request.out, work.machine.label, PREDICTOR).entries
    assert (entry.recipe, entry.runtime, entry.profile, entry.model) == (RECIPE, "llama_cpp", "cpu", work.checkpoint.id)
    assert entry.ratio("ttft_s") == pytest.approx(2.0)
    assert entry.figures["ttft_s"]["conditions"] == TIMED
    assert entry.ratio("weight_bytes") == pytest.approx(1.0, abs=0.1)
    assert entry.figures["convert_s"]["measured"] == 2.5
    assert entry.generation == "2025-08"


def test_the_reports_predictions_are_of_what_was_timed(work):
    planned = work.plan.chosen[0]
    beside = predictions_beside(work, planned, [figure("ttft_s", 1.0, "s", work)])
    ttft = next(one for one in beside if one.name == "ttft_s")
    assert ttft.conditions["prompt_tokens"] == 333
    untimed = [one for one in beside if one.name == "question_s"]
    assert untimed == [one for one in planned.predictions if one.name == "question_s"]


def test_what_is_held_twice_is_read_once_as_in_the_plan(tmp_path):
    """llama.cpp keeps a repacked copy of 4-bit matrices: predicted with it, a ledger would learn another model."""
    work = prepare(BuildRequest("cpu", ("gguf-q4_k_m",), out=tmp_path / "store"), SILENT)
    (planned,) = work.plan.chosen
    alike = predictions_alike(work, planned, replace(work.plan.workload, beams=1))
    assert alike["decode_tokens_per_s"].value == planned.predicted("decode_tokens_per_s")


def test_a_build_makes_room_for_the_beams_it_asks_with(tmp_path):
    greedy, searched = (
        prepare(BuildRequest("cpu", ("fp16",), out=tmp_path / "store", beams=beams), SILENT).plan for beams in (1, 4)
    )
    assert searched.workload.beams == 4
    cache = [plan.rows[0].predicted("kv_cache_bytes") for plan in (greedy, searched)]
    assert cache[1] > cache[0]


def test_nothing_timed_leaves_the_plans_predictions(work):
    planned = work.plan.chosen[0]
    assert predictions_beside(work, planned, []) == planned.predictions
    assert timed_workload([]) is None


def test_another_machines_profile_tells_nothing_here(tmp_path):
    work = prepare(BuildRequest("rtx4090", (RECIPE,), out=tmp_path), SILENT)
    if work.here:
        pytest.skip("this machine is the profile's")
    keep_in_ledger(work, [measured(work, 0.5)])
    assert not (tmp_path / NAME).exists()


def test_failed_artifacts_are_left_out(work):
    keep_in_ledger(work, [ArtifactReport(RECIPE, "somewhere", "llama_cpp 1", "cpu", error="it died")])
    assert not (work.request.out / NAME).exists()


def test_a_plan_shows_and_learns(work):
    request = PlanRequest(MODEL, profile="cpu", recipes=(RECIPE,), out=work.request.out)
    before = plan_model(request)
    assert before.record()["ledger"] == {}
    keep_in_ledger(work, [measured(work, 0.2)])
    after = plan_model(request)
    told = after.record()["ledger"]
    assert told["artifacts"] == 1
    assert {error["figure"] for error in told["errors"]} >= {"ttft_s", "decode_tokens_per_s", "convert_s"}
    assert any("Measured / predicted on this machine so far, llama_cpp, 1 artifact" in note for note in after.notes)
    was, now = (one.plans[0].rows[0].prediction("ttft_s") for one in (before, after))
    assert now.interval[0] <= was.interval[0]
    assert now.interval[1] == pytest.approx(5 * was.value)  # five times slower was seen
    elsewhere = plan_model(PlanRequest(MODEL, profile="rtx3090", recipes=(RECIPE,), out=work.request.out))
    assert not any("on this machine" in note for note in elsewhere.notes)


def test_a_plan_of_a_month_expects_that_generation():
    answer = plan_model(PlanRequest("sqlcoder-nano", profile="rtx4090", recipes=(RECIPE,), as_of="2023-12"))
    row = answer.record()["recipes"][0]
    assert row["generation"] == "2023-12"
    assert [one["name"] for one in row["generations"]] == ["2023-12", "2025-08", "2024-05"]
    assert all(one["intervals"]["decode_tokens_per_s"] for one in row["generations"])
    assert row["predicted"]["decode_tokens_per_s"] == row["generations"][0]["predicted"]["decode_tokens_per_s"]


@pytest.mark.parametrize("month", ["2023", "2023-13", "May", "2023-1"])
def test_a_month_that_is_none_is_refused(month):
    done = CliRunner().invoke(cli, ["plan", "--profile", "cpu", "--as-of", month])
    assert done.exit_code == 2
    assert "write it as 2024-05" in done.output


def test_the_command_takes_a_store_and_a_month(tmp_path):
    done = CliRunner().invoke(
        cli,
        ["plan", "--profile", "rtx3090", "--recipe", RECIPE, "--as-of", "2024-05", "--out", str(tmp_path), "--json"],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["recipes"][0]["generation"] == "2024-05"


def test_an_entry_is_predicted_without_what_the_ledger_taught(work):
    """Else the ledger would correct its own corrections."""
    keep_in_ledger(work, [measured(work, 0.2)])
    (entry,) = read_ledger(work.request.out, work.machine.label).entries
    keep_in_ledger(work, [measured(work, 0.2)])
    (again,) = read_ledger(work.request.out, work.machine.label).entries
    assert again.figures["ttft_s"] == entry.figures["ttft_s"]
