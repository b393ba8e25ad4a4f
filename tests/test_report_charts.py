"""What the charts of the report's page are made of; tests/test_report_html.py looks at them drawn."""

from dataclasses import replace

import pytest
from big_reports import big_report, scores
from hypothesis import given
from hypothesis import strategies as st
from reports import artifact, report

from workbench.accuracy_charts import MOST_SHOWN, group_chart
from workbench.chart_parts import PALETTE, accuracy_range, axis_scale, value_axis
from workbench.measure import Measurement, Score
from workbench.timing_charts import conditions_text, latency_charts, other_workload, predicted_charts
from workbench.tradeoff import DECODE, MEMORY
from workbench.tradeoff_charts import tradeoff_chart


def role(chart, name):
    return [trace for trace in chart.figure["data"] if (trace.get("meta") or {}).get("role") == name]


def test_an_artifact_that_does_not_conform_is_crossed_and_off_the_front():
    original = big_report(3, 100)
    odd = replace(original.artifacts[2], conformance={"passed": False, "logits": {"relative_error": 0.9}})
    chart = tradeoff_chart(replace(original, artifacts=(*original.artifacts[:2], odd)), "heldout", MEMORY)
    assert [trace["marker"]["symbol"] for trace in role(chart, "artifact")] == ["circle", "circle", "x"]
    assert 838 not in role(chart, "front")[0]["x"]
    assert "does not compute what its source does" in chart.note
    assert [row[3].text for row in chart.grid.rows] == ["yes", "yes", "no"]


def test_the_front_runs_with_the_better_side():
    memory, decode = (tradeoff_chart(big_report(8, 100), "heldout", trade) for trade in (MEMORY, DECODE))
    assert role(memory, "front")[0]["line"]["shape"] == "hv"
    assert role(decode, "front")[0]["line"]["shape"] == "vh"
    worth = role(decode, "front")[0]["y"]
    assert list(worth) == sorted(worth, reverse=True)


def test_what_has_no_figure_is_named():
    original = big_report(2, 100)
    bare = replace(original.artifacts[1], measurements=())
    chart = tradeoff_chart(replace(original, artifacts=(original.artifacts[0], bare)), "heldout", DECODE)
    assert chart.note.endswith("not shown: int8.")
    assert tradeoff_chart(report(artifact()), "heldout", DECODE) is None


def test_a_figure_that_is_no_number_is_no_point():
    original = big_report(2, 100)
    odd = replace(
        original.artifacts[1],
        measurements=(Measurement("peak_memory_bytes", float("nan"), "bytes", "measured", "here"),),
    )
    chart = tradeoff_chart(replace(original, artifacts=(original.artifacts[0], odd)), "heldout", MEMORY)
    assert len(role(chart, "artifact")) == 1
    assert chart.note.endswith("not shown: int8.")


def test_error_bars_end_where_the_intervals_do():
    chart = tradeoff_chart(big_report(1, 100, kind="predicted"), "heldout", MEMORY)
    (trace,) = role(chart, "artifact")
    low, high = Score("sql_accuracy", 95, 100).interval
    assert trace["y"][0] + trace["error_y"]["array"][0] == pytest.approx(high)
    assert trace["y"][0] - trace["error_y"]["arrayminus"][0] == pytest.approx(low)
    assert trace["x"][0] - trace["error_x"]["arrayminus"][0] == pytest.approx(0.8 * 900)


def test_of_many_artifacts_the_first_and_those_that_matter_are_drawn():
    chart = group_chart(big_report(24, 200, recommended="gguf-q2_k-group64"), "heldout", "category")
    drawn = [trace["name"] for trace in chart.figure["data"] if trace["visible"] is True]
    assert len(drawn) == MOST_SHOWN
    assert {"fp16", "gguf-q2_k-group64"} <= set(drawn)
    assert len(chart.figure["data"]) == 24
    looks = {(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in chart.figure["data"]}
    assert len(looks) == 24 > len(PALETTE)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1))
def test_an_axis_of_accuracy_holds_every_interval(counts):
    known = [Score("s", min(correct, total), total) for correct, total in counts]
    low, high = accuracy_range(known)
    assert low <= min(one.interval[0] for one in known)
    assert high >= max(one.interval[1] for one in known)
    assert high - low >= 0.1
    assert -0.02 < low < high < 1.02


def test_a_difference_of_nothing_does_not_fill_the_axis():
    original = big_report(2, 100)
    close = [
        replace(one, measurements=(Measurement("peak_memory_bytes", size, "bytes", "measured", "here"),))
        for one, size in zip(original.artifacts, (64.75 * 1024**2, 65.0 * 1024**2), strict=True)
    ]
    chart = tradeoff_chart(replace(original, artifacts=tuple(close)), "heldout", MEMORY)
    low, high = chart.figure["layout"]["xaxis"]["range"]
    assert low < 64.75 - 5
    assert high > 65 + 5
    wide = tradeoff_chart(big_report(3, 100, kind="predicted"), "heldout", MEMORY).figure["layout"]["xaxis"]["range"]
    assert wide[0] < 0.8 * 838 < 1.3 * 900 < wide[1]  # MiB, intervals included


def test_values_far_apart_are_told_on_a_logarithmic_axis():
    assert value_axis([1.0, 19.0]) == {"rangemode": "tozero"}
    assert value_axis([]) == {"rangemode": "tozero"}
    axis = value_axis([4e6, 9e8], scale=1e6)
    assert axis["type"] == "log"
    assert axis["ticktext"][:4] == ["1", "2", "5", "10"]
    assert value_axis([4.0, 3000.0])["ticktext"] == ["1", "10", "100", "1,000", "10,000"]


def test_bytes_are_scaled():
    assert axis_scale([3 * 1024**2, 5 * 1024**3], "bytes") == (1024**3, "GiB")
    assert axis_scale([500.0], "bytes") == (1.0, "B")
    assert axis_scale([500.0], "s") == (1.0, "s")


def test_timed_figures_have_a_chart_each_and_predictions_none():
    assert [chart.title for chart in latency_charts(big_report(2, 40))] == [
        "Time to first token", "Prefill rate", "Decode rate", "Time of a typical question",
    ]  # fmt: skip
    assert latency_charts(big_report(2, 40, kind="predicted")) == []


def test_repeats_are_drawn_whole():
    timed = Measurement("ttft_s", 0.2, "s", "measured", "here", 0.3, 3, values=(0.1, 0.2, 0.3))
    (chart,) = latency_charts(report(artifact(measurements=(timed,))))
    (trace,) = chart.figure["data"]
    assert (trace["type"], list(trace["x"]), trace["boxpoints"]) == ("box", [0.1, 0.2, 0.3], "all")


def test_predicted_and_measured_stand_in_one_chart():
    chart = next(one for one in predicted_charts(big_report(2, 40)) if one.title == "Decode rate")
    predicted, measured = chart.figure["data"]
    assert (predicted["marker"]["symbol"], measured["marker"]["symbol"]) == ("diamond-open", "circle")
    assert (list(predicted["x"]), list(measured["x"])) == ([55, 70], [40, 55])
    first = [cell.text for cell in chart.grid.rows[0]]
    assert first[:6] == ["fp16", "~55/s", "44 to 71.5/s", "40/s", "-27%", "no"]


def test_another_workload_is_told():
    told = Measurement("ttft_s", 1, "s", "predicted", "m", conditions={"prompt_tokens": 1000, "batch": 1})
    came = Measurement("ttft_s", 1, "s", "measured", "h", conditions={"prompt_tokens": 256, "device": "cpu"})
    assert other_workload(told, came)
    assert not other_workload(told, replace(came, conditions={"device": "cpu"}))
    assert conditions_text(told) == "1000 prompt tokens, 1 batch"
    original = report(artifact(measurements=(came,), predictions=(told,)))
    assert "another workload" in predicted_charts(original)[0].note


def test_the_sets_have_their_own_charts():
    mixed = replace(big_report(2, 40), artifacts=(artifact("a", sets=(scores(0, 50, "mine"),), notes=()),))
    assert group_chart(mixed, "heldout", "category") is None
    assert "on mine by hardness" in group_chart(mixed, "mine", "hardness").alt
