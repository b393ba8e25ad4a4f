from dataclasses import replace
from pathlib import Path

from reports import artifact, divergence, flips, report, set_scores

from workbench.artifact import Artifact, FileEntry, Manifest
from workbench.build import recorded_at
from workbench.measure import Measurement, Score
from workbench.report import SetScores
from workbench.trackers.base import TrackingReceipt
from workbench.tracking import tracked_build


def made(name):
    source = {"id": "org/model", "revision": None, "digest": "d"}
    files = (FileEntry("model.safetensors", 3, "0" * 64),)
    recipe = {"options": {"bits": 4}}
    return Artifact(
        Path("store") / name,
        Manifest(name, "model", "gpt_bigcode", "nano", "gptq", recipe, source, files, 3, 6, 4.0, {}, "k"),
    )


def child(one, **changes):
    return tracked_build(report(one, **changes), Path("r"), {one.recipe: made(one.recipe)}).children[0]


def test_one_parent_and_a_child_per_artifact():
    build = tracked_build(report(artifact("a"), artifact("b")), Path("r"), {"a": made("a"), "b": made("b")})
    assert build.experiment == "sqlcoder-workbench/model"
    assert [run.name for run in build.children] == ["a on cpu", "b on cpu"]
    assert build.parent.metrics == {"build_s": 12.5}
    assert Path("r/report.json") in build.parent.artifacts


def test_metrics_carry_units_and_predictions_say_so():
    assert child(artifact()).metrics["question_s"] == 1.0
    predicted = child(artifact(kind="predicted")).metrics
    assert "question_s" not in predicted
    assert predicted["predicted/question_s"] == 1.0


def test_what_was_predicted_stands_beside_what_was_measured():
    told = Measurement("question_s", 1.25, "s", "predicted", "a model", interval=(1.0, 2.0))
    metrics = child(artifact(predictions=(told,))).metrics
    assert (metrics["question_s"], metrics["predicted/question_s"]) == (1.0, 1.25)
    assert (metrics["predicted/question_s_low_90"], metrics["predicted/question_s_high_90"]) == (1.0, 2.0)
    noisy = Measurement("question_s", 1.25, "s", "measured", "here", p99=1.5, interval=(1.2, 1.3))
    metrics = child(artifact(measurements=(noisy,))).metrics
    assert metrics["p99/question_s"] == 1.5
    assert (metrics["question_s_noise_low"], metrics["question_s_noise_high"]) == (1.2, 1.3)


def test_files_and_datasets_of_the_build_go_along():
    calibrated = {"calibration": {"sha256": "c" * 64, "texts": 128, "tokens": 34712}}
    made_of = made("a")
    made_of = replace(made_of, manifest=replace(made_of.manifest, details=calibrated))
    build = tracked_build(report(artifact("a")), Path("r"), {"a": made_of})
    names = [path.name for path in build.parent.artifacts]
    assert names == ["report.html", "report.md", "report.json", "plots"]
    assert [(one.name, one.context, one.rows) for one in build.children[0].datasets] == [
        ("heldout", "evaluation", 100),
        ("calibration", "calibration", 128),
    ]
    assert build.parent.datasets[0].digest == "q" * 64
    assert "**Recommended: `fp16`**" in build.parent.note
    assert "| recipe |" in build.parent.note


def test_what_ran_can_be_registered_and_what_failed_cannot():
    model = child(artifact("a", acceptance=GATE)).model
    assert (model.name, model.recipe, model.profile, model.tags["gate"]) == ("model", "a", "cpu", "refuted")
    assert model.serving == {"context": 1024, "beams": 1, "prompt": "nano", "max_new_tokens": 300}
    assert child(artifact("a", error="engine died", sets=(), measurements=())).model is None


def test_scores_carry_intervals_and_flips():
    metrics = child(artifact(sets=(set_scores(90, flips=flips(3, 1, 0.6)),))).metrics
    assert metrics["heldout/sql_accuracy_ratio"] == 0.9
    assert metrics["heldout/sql_accuracy_ratio/category/date"] == 0.5
    assert metrics["heldout/sql_accuracy_ratio_low_95"] < 0.9 < metrics["heldout/sql_accuracy_ratio_high_95"]
    assert metrics["heldout/flips_right_to_wrong_count"] == 3


def test_refusals_are_a_metric_of_their_own():
    mixed = replace(set_scores(90), scores=(*set_scores(90).scores, Score("refusals", 3, 4)))
    assert child(artifact(sets=(mixed,))).metrics["heldout/refusals_ratio"] == 0.75
    alone = child(artifact(sets=(SetScores("idk", (Score("refusals", 3, 4),), {}),))).metrics
    assert (alone["idk/refusals_ratio"], alone["idk/refusals_ratio_high_95"] > 0.75) == (0.75, True)


def test_divergences_carry_standard_errors():
    metrics = child(artifact(divergence=divergence(0.7))).metrics
    assert metrics["divergence/kl_nats"] == metrics["divergence/prompts/kl_nats"] == 0.7
    assert metrics["divergence/kl_nats_se"] == 0.7 / 7
    assert metrics["divergence/same_top_ratio"] == 0.9821
    assert metrics["divergence/tokens_count"] == 80
    assert "divergence/prompts/perplexity" not in metrics
    assert "divergence/log_perplexity_ratio_se" not in metrics
    assert not any(name.startswith("divergence") for name in child(artifact(divergence={"missing": "x"})).metrics)


def test_params_name_recipe_options_and_digests():
    run = child(artifact("a"), recommended="a")
    assert run.params["recipe.bits"] == "4"
    assert run.params["source_digest"] == "d"
    assert run.params["beams"] == "1"
    assert run.tags["recommended"] == "true"
    assert run.weight_files == [Path("store/a/model.safetensors")]


def test_a_failed_artifact_is_recorded_with_its_reason():
    assert child(artifact("a", error="engine died", sets=(), measurements=())).tags["error"] == "engine died"


def test_unknown_values_are_left_out():
    nothing = Measurement("load_s", None, "s", "measured", "here")
    assert "load_s" not in child(artifact(measurements=(nothing,))).metrics


def test_flips_carry_difference_power_and_groups():
    metrics = child(artifact(sets=(set_scores(90, flips=flips(3, 1, 0.6)),))).metrics
    assert metrics["heldout/difference_ratio"] == -0.02
    assert (metrics["heldout/difference_ratio_low_95"], metrics["heldout/difference_ratio_high_95"]) == (-0.1, 0.1)
    assert metrics["heldout/mcnemar_p"] == 0.6
    assert metrics["heldout/flips_right_to_wrong_count/category/date"] == 3
    assert metrics["heldout/flips_wrong_to_right_count/hardness/easy"] == 1


GATE = {
    "verdict": "refuted",
    "loss_max_points": 2.0,
    "confidence": 0.95,
    "loss_points": 12.0,
    "loss_bounds_points": [8.0, 16.0],
    "questions": 336,
    "questions_needed": None,
}


def test_a_gate_is_recorded_with_what_it_asked_and_found():
    run = child(artifact("a", acceptance=GATE))
    assert run.tags["gate"] == "refuted"
    assert run.tags["gate.loss_max_points"] == "2.0"
    assert (run.metrics["accept/loss_points"], run.metrics["accept/loss_greatest_points"]) == (12.0, 16.0)
    assert "accept/questions_needed_count" not in run.metrics
    few = {**GATE, "verdict": "not enough questions", "questions_needed": 928}
    assert child(artifact("a", acceptance=few)).metrics["accept/questions_needed_count"] == 928
    silent = {**GATE, "verdict": "not judged", "loss_points": None, "loss_bounds_points": None}
    assert child(artifact("a", acceptance=silent)).tags["gate"] == "not judged"
    assert child(artifact("a")).tags["gate"] == "none"


def test_noise_reference_and_the_refuted_are_the_builds():
    noise = {"right_to_wrong": 1, "wrong_to_right": 2, "texts_differing": 5, "questions": 336}
    built = report(
        artifact("a", acceptance=GATE), noise=noise, reference={"name": "fp16", "kind": "artifact", "digest": "k"}
    )
    parent = tracked_build(built, Path("r"), {"a": made("a")}).parent
    assert parent.metrics["noise/flips_count"] == 3
    assert parent.metrics["noise/texts_differing_count"] == 5
    assert parent.params["reference_name"] == "fp16"
    assert parent.tags["refuted"] == "a"


def test_a_build_on_a_server_is_told_with_its_pages():
    one = artifact("a")
    tracked = tracked_build(report(one), Path("r"), {"a": made("a")})
    pages = {"runs_page": "/#/runs", "compare_page": "/#/compare", "model_page": "/#/models/model"}
    here = TrackingReceipt("sqlite:///x", "1", "run", ["child"], versions={"a": "3"}, **pages)
    assert recorded_at(here, tracked) == [
        "sqlite:///x, experiment 'sqlcoder-workbench/model', run run",
        "registered model 'model': a is version 3",
    ]
    served = {name: f"https://host{page}" for name, page in pages.items()}
    assert recorded_at(replace(here, **served), tracked)[1:] == [
        "all runs: https://host/#/runs",
        "these side by side: https://host/#/compare",
        "registered model 'model': a is version 3",
        "its versions: https://host/#/models/model",
    ]
