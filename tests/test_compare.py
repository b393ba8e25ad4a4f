import pytest
from reports import artifact, report

from workbench.compare import comparison, find_reports, tables
from workbench.errors import WorkbenchError
from workbench.report_page import write_report


def test_builds_stand_side_by_side(tmp_path):
    for profile in ("cpu", "rtx4090"):
        write_report(report(artifact("fp16"), profile=profile), tmp_path / "m" / "reports" / profile)
    table, legend = comparison(find_reports(tmp_path))
    assert [row[:3] for row in table.rows] == [("org/model", "cpu", "fp16 *"), ("org/model", "rtx4090", "fp16 *")]
    assert "predicted" in legend


def test_more_beams_stand_beside_the_profile(tmp_path):
    write_report(report(beams=4), tmp_path / "a")
    assert comparison([tmp_path / "a"])[0].rows[0][1] == "cpu, 4 beams"


def test_an_empty_store_names_the_command(tmp_path):
    with pytest.raises(WorkbenchError, match="python -m workbench build"):
        find_reports(tmp_path)


def test_other_questions_are_refused(tmp_path):
    write_report(report(), tmp_path / "a")
    write_report(report(question_sets=({"name": "mine", "questions": 3, "digest": "x"},)), tmp_path / "b")
    with pytest.raises(WorkbenchError, match="different questions"):
        comparison([tmp_path / "a", tmp_path / "b"])


def test_published_figures_stand_below_the_measured_ones(tmp_path):
    write_report(report(artifact("fp16")), tmp_path / "m" / "reports" / "cpu")
    builds, published = tables([], tmp_path, published=True)
    assert [row[2] for row in builds[0].rows] == ["fp16 *"]
    assert all(row[1].startswith("published, ") for row in published[0].rows)
    assert tables([], tmp_path) == [builds]
    assert tables([], tmp_path / "empty", published=True) == [published]
