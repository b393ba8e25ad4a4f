import pytest
from big_reports import big_report
from reports import artifact, report

from workbench.measure import Measurement
from workbench.report_grids import Cell, artifacts_grid, figure_cell, grid_of, range_text, value_text
from workbench.report_plan import plan_grid
from workbench.tables import Table


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0351, "s", "35.1 ms"), (1.204, "s", "1.20 s"), (1204.4, "tokens/s", "1,204/s"), (7.25, "tokens/s", "7.25/s"),
        (1.5 * 1024**3, "bytes", "1.5 GiB"), (4.25, "bits", "4.25 bits"),
    ],
)  # fmt: skip
def test_values_carry_their_unit(value, unit, text):
    assert value_text(value, unit) == text


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [
        (0.9, 1.4, "s", "0.9 to 1.4 s"), (0.16, 0.26, "s", "160 to 260 ms"), (4, 5, "bits", "4 to 5 bits"),
        (800 * 1024**2, 2 * 1024**3, "bytes", "0.781 to 2 GiB"), (10, 12, "bytes", "10 to 12 B"),
        (1120, 1820.4, "tokens/s", "1,120 to 1,820/s"), (0.0003, 0.0005, "s", "0.3 to 0.5 ms"),
    ],
)  # fmt: skip
def test_a_range_tells_its_unit_once(low, high, unit, text):
    assert range_text(low, high, unit) == text


def test_a_prediction_never_looks_measured():
    told = Measurement("ttft_s", 0.2345, "s", "predicted", "a model", interval=(0.2, 0.3))
    came = Measurement("ttft_s", 0.2345, "s", "measured", "here", p95=0.3)
    assert figure_cell(told) == Cell("~230.0 ms", "200 to 300 ms", predicted=True)
    assert figure_cell(came) == Cell("234.5 ms")
    assert figure_cell(None) == Cell("-")


def test_a_row_tells_what_an_artifact_is():
    grid = artifacts_grid(big_report(3, 60))
    assert grid.header[:4] == ("artifact", "file", "bits/w", "right (heldout)")
    assert [row[0].tags for row in grid.rows] == [("reference",), (), ("recommended",)]
    gates = [row[grid.header.index("gate")] for row in grid.rows]
    assert gates == [Cell("-"), Cell("refuted", tone="bad"), Cell("undecided", "868 more needed", tone="doubt")]
    failed = artifacts_grid(report(artifact(sets=(), measurements=(), weight_bytes=0, error="it died")))
    assert failed.rows[0][0].tags == ("recommended", "failed")
    assert {cell.text for cell in failed.rows[0][1:]} == {"-"}


def test_the_plan_tells_what_it_knows_of_each_recipe():
    fits = {
        "recipe": "int8", "build": True, "verdict": "fits", "reason": "fits: needs little", "nearest": None,
        "predicted": {"weight_bytes": 3 * 1024**2, "decode_tokens_per_s": 641.2}, "exact": {"weight_bytes": True},
        "intervals": {"decode_tokens_per_s": [350.0, 1170.4]}, "largest_context": 1024, "runtime": "llama_cpp",
        "build_cost": {"seconds": 12.3, "peak_ram_bytes": 2 * 1024**3},
    }  # fmt: skip
    bare = {"recipe": "mps", "build": False, "reason": "made for metal"}
    grid = plan_grid(report(plan={"recipes": [fits, bare]}))
    first, second = ({name: cell for name, cell in zip(grid.header, row, strict=True)} for row in grid.rows)
    assert first["file"] == Cell("3.0 MiB", predicted=True)
    assert first["decode"] == Cell("~640/s", "350 to 1,170/s", predicted=True)
    assert first["most context"] == Cell("1,024", predicted=True)
    assert first["to make it"] == Cell("~12.00 s", "2.0 GiB", predicted=True)
    assert first["verdict"].tone == "good"
    assert {second[name].text for name in grid.header[2:-1]} == {"-"}
    assert second["why"].text == "made for metal"


def test_columns_of_figures_are_known():
    grid = grid_of(Table(("name", "n", "why"), (("1", "~2 s", "2 of 3 fit"), ("b", "-", "so"))), "c")
    assert grid.numeric == (False, True, False)
    assert grid.rows[0][1].predicted
