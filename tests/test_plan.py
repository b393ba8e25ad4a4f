import dataclasses
import json
from pathlib import Path

import pytest
from shapes import sqlcoder_15b

from workbench import catalog
from workbench.build_cost import host
from workbench.checkpoint import Checkpoint
from workbench.config_tensors import config_tensors
from workbench.errors import WorkbenchError
from workbench.experience import experience
from workbench.plan import Planner, make_plan, plan_record, question
from workbench.plan_record import decision, plans_record
from workbench.usual_beams import usual_beams
from workbench.workload import TYPICAL

ALL = catalog.recipe_names()
NAMES = ("weight_bytes", "kv_cache_bytes", "activation_bytes", "overhead_bytes", "peak_memory_bytes")
SQLCODER_7B_2 = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 32016, "max_position_embeddings": 16384,
    "tie_word_embeddings": False,
}  # fmt: skip


def plan_for(profile, *recipes, **asked):
    chosen = [catalog.get_recipe(name) for name in recipes or ALL]
    return make_plan(sqlcoder_15b(), catalog.get_profile(profile), chosen, **asked)


def rows(plan):
    return {row.recipe.name: row for row in plan.rows}


def described(config, name="org/sqlcoder-7b-2"):
    return Checkpoint(name, Path("nowhere"), None, config, config_tensors(config, Path("nowhere")), from_config=True)


def test_fp16_of_15b_has_the_published_size():
    size = rows(plan_for("a100-80gb", "fp16"))["fp16"].predicted("weight_bytes")
    assert size == pytest.approx(31.03e9, rel=2e-3)  # 15,517,456,384 parameters of 2 bytes


def test_15b_in_fp16_fits_an_a100_and_not_a_4090():
    assert rows(plan_for("a100-40gb", "fp16"))["fp16"].verdict == "fits"
    row = rows(plan_for("rtx4090", "fp16"))["fp16"]
    assert not row.build
    assert row.fits is False
    assert row.reason.startswith("does not fit")


@pytest.mark.parametrize("profile", ["rtx4090", "rtx3090"])
@pytest.mark.parametrize("recipe", ["int8", "gptq-4bit", "gguf-q4_k_m", "gguf-q8_0"])
def test_quantized_15b_fits_a_24_gb_card_as_defog_says(profile, recipe):
    assert rows(plan_for(profile, recipe, beams=4))[recipe].build


@pytest.mark.parametrize("profile", ["m2-pro:32", "m2-max", "m2-ultra"])
def test_15b_in_4_bits_fits_the_macs_defog_names(profile):
    assert rows(plan_for(profile, "mlx-4bit"))["mlx-4bit"].fits


def test_the_cache_of_15b_is_160_mib_at_8192_tokens():
    row = rows(plan_for("a100-80gb", "gguf-f16"))["gguf-f16"]
    assert row.predicted("kv_cache_bytes") == 160 * 2**20  # 2 x 40 layers x 128 x 2 bytes a token: multi-query


def test_a_recipe_for_other_hardware_is_left_out_with_the_reason():
    assert "metal" in rows(plan_for("rtx4090", "mps"))["mps"].reason
    assert "metal" in rows(plan_for("m2-max", "gptq-4bit"))["gptq-4bit"].reason
    assert rows(plan_for("rtx4090", "mps"))["mps"].verdict == "unsuitable"


def test_an_engine_that_is_missing_here_leaves_the_prediction(monkeypatch):
    monkeypatch.setattr("workbench.plan.missing_library", lambda requires: "needs x, which is not installed")
    row = rows(plan_for("a100-80gb", "fp16"))["fp16"]
    assert (row.build, row.fits, row.verdict) == (False, True, "fits")
    assert row.reason == "needs x, which is not installed"


def test_more_memory_lets_more_fit():
    fitting = {size: len(plan_for(f"m2-ultra:{size}").chosen) for size in (64, 192)}
    assert fitting[192] >= fitting[64]
    assert not rows(plan_for("m2-pro:16", "mps"))["mps"].build


def test_what_fits_barely_is_called_tight():
    row = rows(plan_for("rtx4090", "gguf-q8_0"))["gguf-q8_0"]
    need, usable = row.predicted("peak_memory_bytes"), catalog.get_profile("rtx4090").usable_bytes
    assert row.verdict == ("tight" if need > 0.9 * usable else "fits")
    smaller = catalog.get_profile("rtx4090").model_copy(update={"chosen_gib": need / 0.92 / 2**30 * 1.02})
    tight = make_plan(sqlcoder_15b(), smaller, [catalog.get_recipe("gguf-q8_0")])
    assert tight.rows[0].verdict == "tight"
    assert tight.rows[0].build


def test_every_figure_of_a_plan_is_a_labelled_prediction():
    for row in plan_for("rtx3090").rows:
        assert all(m.kind == "predicted" and m.source for m in row.predictions)


def test_the_parts_of_the_memory_add_up():
    for row in plan_for("a100-80gb", batch=2, beams=4).rows:
        if row.predictions:
            parts = ("resident_weight_bytes", "kv_cache_bytes", "activation_bytes", "overhead_bytes")
            assert sum(row.predicted(name) for name in parts) == row.predicted("peak_memory_bytes")


def test_decode_is_bounded_by_bandwidth():
    profile = catalog.get_profile("rtx4090")
    for row in plan_for("rtx4090").chosen:
        limit = profile.bandwidth_gb_per_s.value * 1e9 / row.predicted("weight_bytes")
        assert row.predicted("decode_tokens_per_s") < limit * 1.05  # an embedding that is not tied is not read whole


@pytest.mark.parametrize("context", [-1, 0, 8193])
def test_a_context_out_of_range_is_refused(context):
    with pytest.raises(WorkbenchError, match="1 to 8192"):
        plan_for("cpu", "fp16", context=context)


@pytest.mark.parametrize("asked", [{"batch": 0}, {"batch": 5000}, {"beams": 0}, {"beams": 17}])
def test_a_batch_or_beams_out_of_range_are_refused(asked):
    with pytest.raises(WorkbenchError, match="out of range; give 1 to"):
        plan_for("cpu", "fp16", **asked)


def test_the_best_keeps_accuracy_first_and_speed_second():
    best = plan_for("a100-40gb").best
    assert best.verdict == "fits"
    assert best.recipe.accept is None  # 16 bits, which nothing is held against
    assert plan_for("m2-pro:16", "mps").best is None


def test_a_question_is_cut_to_a_small_context():
    assert question(8192, 2, 4) == dataclasses.replace(TYPICAL, batch=2, beams=4)
    short = question(300)
    assert short.prompt_tokens + short.new_tokens == 300


def test_7b_with_a_key_for_every_head_runs_out_of_context_before_weights():
    """sqlcoder-7b-2: 0.5 MiB of cache a token, so 16,384 tokens take 8 GiB beside 12.6 GiB of weights."""
    planner = Planner(described(SQLCODER_7B_2))
    row = planner.plan(catalog.get_profile("rtx4090"), [catalog.get_recipe("fp16")]).rows[0]
    assert row.predicted("kv_cache_bytes") == 2 * 32 * 4096 * 2 * 16384
    assert row.predicted("weight_bytes") == pytest.approx(13.48e9, rel=0.01)  # as on the Hub
    assert 8192 < row.largest_context <= 16384


@pytest.mark.parametrize(
    ("name", "beams"), [("defog/sqlcoder", 4), ("defog/sqlcoder-7b-2", 4), ("bigcode/starcoder", 1)]
)
def test_the_sqlcoders_are_asked_with_beams_as_defog_does(name, beams):
    found, source = usual_beams(described(SQLCODER_7B_2, name))
    assert found == beams
    assert source


@pytest.mark.parametrize(("text", "beams"), [('{"num_beams": 5}', 5), ('{"num_beams": 0}', 4), ("no JSON", 4)])
def test_a_models_own_beams_come_first_where_they_make_sense(tmp_path, text, beams):
    (tmp_path / "generation_config.json").write_text(text)
    checkpoint = dataclasses.replace(described(SQLCODER_7B_2, "defog/sqlcoder"), path=tmp_path)
    assert usual_beams(checkpoint)[0] == beams


def test_a_disk_that_is_too_small_is_told(monkeypatch):
    small = dataclasses.replace(host(), free_disk_bytes=10**9)
    monkeypatch.setattr("workbench.plan.host", lambda folder: small)
    row = rows(plan_for("rtx4090", "gguf-q4_k_m"))["gguf-q4_k_m"]
    assert "of disk and 0.9 are free" in row.build_cost.obstacle
    assert row.build_cost.disk_bytes > 31e9 + 9.9e9  # the download and the artifact


@pytest.mark.parametrize("profile", catalog.profile_names())
def test_every_profile_plans_and_records(profile):
    record = json.loads(json.dumps(plan_record(plan_for(profile))))
    assert [row["recipe"] for row in record["recipes"]] == ALL
    for row in record["recipes"]:
        assert row["reason"]
        assert row["verdict"] in ("fits", "tight", "does not fit", "unsuitable")
        if row["verdict"] != "unsuitable":
            assert all(row["predicted"][name] > 0 for name in NAMES)
            assert {"peak_ram_bytes", "peak_vram_bytes", "disk_bytes", "seconds"} <= row["build_cost"].keys()
            assert row["largest_context"] is not None


def test_the_record_of_all_profiles_holds_one_plan_each():
    record = plans_record(plan_for(name, "int8") for name in ("rtx4090", "a100-40gb"))
    assert record["model"] == "defog/sqlcoder"
    assert record["parameters"] == 15_517_456_384
    assert [one["profile"] for one in record["profiles"]] == ["rtx4090", "a100-40gb"]
    assert record["profiles"][0]["workload"] == {"prompt_tokens": 1000, "new_tokens": 100, "batch": 1, "beams": 1}


def test_what_a_build_depends_on_leaves_out_what_changes_from_day_to_day(monkeypatch):
    chosen = ("fp16", "int8", "mps")
    before = decision(plan_for("rtx4090", *chosen))
    monkeypatch.setattr("workbench.plan.host", lambda folder: dataclasses.replace(host(), free_disk_bytes=1))
    assert decision(plan_for("rtx4090", *chosen)) == before
    assert decision(plan_for("rtx4090", *chosen, context=100)) != before


def test_beams_lengthen_the_question_and_leave_the_rates_that_engines_are_compared_by():
    greedy, searched = (
        make_plan(sqlcoder_15b(), catalog.get_profile("rtx4090"), [catalog.get_recipe("gguf-q4_k_m")], beams=beams)
        for beams in (1, 4)
    )
    for name in ("ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s"):
        assert searched.rows[0].predicted(name) == greedy.rows[0].predicted(name)
    assert searched.rows[0].predicted("question_s") > greedy.rows[0].predicted("question_s")


def test_the_disk_that_must_hold_the_artifact_is_the_stores(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("workbench.plan.host", lambda folder: asked.append(folder) or host(folder))
    planner = Planner(sqlcoder_15b(), experience=experience(tmp_path))
    planner.plan(catalog.get_profile("a100-80gb"), [catalog.get_recipe("fp16")])
    assert asked == [tmp_path]
