from workbench import catalog
from workbench.artifact import Manifest
from workbench.measure import Measurement
from workbench.measurements import artifact_measurements
from workbench.plan import PlannedArtifact
from workbench.runtimes.base import Timing
from workbench.trial import TrialResult

MANIFEST = Manifest("m", "m", "gpt_bigcode", "nano", "fp16", {}, {}, (), 1000, 500, 16.0, {}, "k")
PREDICTED = (
    Measurement("weight_bytes", 999, "bytes", "predicted", "model"),
    Measurement("decode_tokens_per_s", 7.0, "tokens/s", "predicted", "model"),
)


def figures(here, **changes):
    timings = [Timing(100, 11, 0.1 * n, 0.1 * n + 1.0) for n in (1, 2, 3)]
    values = {"answers": [], "new_tokens": [], "unfinished": 0, "answer_s": 1.0, "load_s": 2.0, "timings": timings,
              "peak_rss_bytes": 5000}  # fmt: skip
    trial = TrialResult(**{**values, **changes})
    planned = PlannedArtifact(catalog.get_recipe("fp16"), True, "fits", True, PREDICTED)
    return {m.name: m for m in artifact_measurements(planned, MANIFEST, trial, "a machine", here)}


def test_on_the_profiles_machine_everything_is_measured():
    found = figures(here=True)
    assert {m.kind for m in found.values()} == {"measured"}
    assert found["ttft_s"].value == 0.2
    assert found["decode_tokens_per_s"].value == 10.0
    assert found["peak_memory_bytes"].value == 5000
    assert found["ttft_s"].p95 > 0.2
    assert found["prefill_tokens_per_s"].p95 < found["prefill_tokens_per_s"].value  # the slow side
    assert found["ttft_s"].conditions["prompt_tokens"] == 100


def test_elsewhere_only_the_file_is_measured():
    found = figures(here=False)
    assert found["weight_bytes"].kind == "measured"
    assert found["weight_bytes"].value == 1000
    assert found["decode_tokens_per_s"].kind == "predicted"
    assert "load_s" not in found


def test_a_speed_no_user_will_see_is_not_shown():
    assert set(figures(here=True, representative=False)) == {"weight_bytes", "bits_per_weight"}


def test_an_accelerators_own_count_wins():
    assert figures(here=True, device_peak_bytes=77)["peak_memory_bytes"].value == 77
