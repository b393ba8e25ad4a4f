from dataclasses import replace
from pathlib import Path

from reports import artifact, report, set_scores

from workbench.chart_parts import PALETTE
from workbench.measure import Measurement
from workbench.plots import tradeoff_plot, write_plots
from workbench.tradeoff import MEMORY

PNG = b"\x89PNG\r\n\x1a\n"


def costing(name: str, right: int, size: float, kind: str = "measured"):
    memory = Measurement("peak_memory_bytes", size, "bytes", kind, "here")
    return artifact(name, sets=(set_scores(right),), measurements=(memory,))


def test_only_what_has_figures_is_drawn(tmp_path: Path) -> None:
    built = report(costing("a", 90, 3 * 2**30), costing("c", 90, float("nan")), artifact("b", sets=()))
    (path,) = write_plots(built, tmp_path)
    assert path == tmp_path / "plots" / "accuracy_against_peak_memory.png"
    assert path.read_bytes().startswith(PNG)
    assert write_plots(report(artifact("b", sets=())), tmp_path) == []
    assert not path.exists()


def test_nothing_and_everything_right_are_drawn(tmp_path: Path) -> None:
    assert write_plots(report(costing("a", 100, 2.0), costing("b", 0, 1.0)), tmp_path)


def test_a_plot_shows_each_artifact_at_its_place_and_says_what_is_predicted() -> None:
    axes = tradeoff_plot(report(costing("a", 90, 3 * 2**30), costing("b", 80, 2**30, "predicted")), MEMORY).axes[0]
    drawn = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    assert [float(drawn["a"].get_xdata()[0]), float(drawn["a"].get_ydata()[0])] == [3.0, 90.0]
    assert drawn["b"].get_markerfacecolor() == "white" != drawn["a"].get_markerfacecolor()
    assert axes.get_xlabel() == "Peak memory, GiB"
    (front,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [float(value) for value in front.get_xdata()] == [1.0, 3.0]
    alone = tradeoff_plot(report(costing("b", 80, 2**30, "predicted")), MEMORY).axes[0]
    assert alone.get_xlabel() == "Peak memory (predicted), GiB"


def test_a_name_is_no_formula_and_what_does_not_conform_is_no_part_of_the_front(tmp_path: Path) -> None:
    odd = replace(costing(r"$\frac{", 99, 2**29), conformance={"passed": False})
    built = replace(report(odd, costing("a", 90, 3 * 2**30)), model=r"org/$\no$")
    assert len(write_plots(built, tmp_path)) == 1
    (front,) = [line for line in tradeoff_plot(built, MEMORY).axes[0].lines if line.get_linestyle() == ":"]
    assert [float(value) for value in front.get_xdata()] == [3.0]


def test_an_artifact_has_the_colour_that_it_has_on_the_page() -> None:
    built = report(artifact("a", sets=()), costing("b", 80, 2**30))
    (bars,) = tradeoff_plot(built, MEMORY).axes[0].containers
    assert bars.lines[0].get_color() == PALETTE[1]
