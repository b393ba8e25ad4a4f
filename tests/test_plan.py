import pytest
from shapes import sqlcoder_15b

from workbench import catalog
from workbench.errors import WorkbenchError
from workbench.plan import make_plan, plan_record

ALL = catalog.recipe_names()


def plan_for(profile, *recipes, context=None):
    chosen = [catalog.get_recipe(name) for name in recipes or ALL]
    return make_plan(sqlcoder_15b(), catalog.get_profile(profile), chosen, context)


def rows(plan):
    return {row.recipe.name: row for row in plan.rows}


def test_fp16_of_15b_has_the_published_size():
    size = rows(plan_for("a100-80gb", "fp16"))["fp16"].predicted("weight_bytes")
    assert size == pytest.approx(31.03e9, rel=2e-3)  # 15,517,456,384 parameters of 2 bytes


def test_15b_in_fp16_fits_an_a100_and_not_a_4090():
    assert rows(plan_for("a100-40gb"))["fp16"].build
    row = rows(plan_for("rtx4090"))["fp16"]
    assert not row.build
    assert row.fits is False
    assert row.reason.startswith("does not fit")


@pytest.mark.parametrize("recipe", ["int8", "gptq-4bit", "gguf-q4_k_m"])
def test_quantized_15b_fits_a_24_gb_card_as_defog_says(recipe):
    assert rows(plan_for("rtx4090"))[recipe].build


def test_a_recipe_for_other_hardware_is_left_out_with_the_reason():
    assert "metal" in rows(plan_for("rtx4090"))["mps"].reason
    assert "metal" in rows(plan_for("m2-max"))["gptq-4bit"].reason


def test_more_memory_lets_more_fit():
    fitting = {size: len(plan_for(f"m2-ultra:{size}").chosen) for size in (64, 192)}
    assert fitting[192] >= fitting[64]
    assert not rows(plan_for("m2-pro:16"))["mps"].build


def test_every_figure_of_a_plan_is_a_labelled_prediction():
    for row in plan_for("rtx3090").rows:
        assert all(m.kind == "predicted" and m.source for m in row.predictions)


def test_decode_is_bounded_by_bandwidth():
    profile = catalog.get_profile("rtx4090")
    for row in plan_for("rtx4090").chosen:
        limit = profile.bandwidth_gb_per_s.value * 1e9 / row.predicted("weight_bytes")
        assert row.predicted("decode_tokens_per_s") < limit


@pytest.mark.parametrize("context", [-1, 0, 8193])
def test_a_context_out_of_range_is_refused(context):
    with pytest.raises(WorkbenchError, match="1 to 8192"):
        plan_for("cpu", "fp16", context=context)


def test_less_context_needs_less_memory():
    need = [rows(plan_for("a100-80gb", "fp16", context=c))["fp16"].predicted("peak_memory_bytes") for c in (512, 8192)]
    assert need[0] < need[1]


@pytest.mark.parametrize("profile", catalog.profile_names())
def test_every_profile_plans_and_records(profile):
    record = plan_record(plan_for(profile))
    assert [row["recipe"] for row in record["recipes"]] == ALL
    assert all(row["reason"] for row in record["recipes"])
