import json

import pytest
from reports import artifact, flips, report, set_scores

from workbench.errors import StorageError, WorkbenchError
from workbench.measure import Measurement
from workbench.report import read_report, recommend, report_record
from workbench.report_page import write_report


def test_written_report_reads_back_equal(tmp_path):
    original = report(artifact(), artifact("int8", sets=(set_scores(88, flips=flips(3, 1, 0.6)),)))
    json_path, markdown_path = write_report(original, tmp_path / "r")
    assert read_report(json_path) == original
    assert read_report(tmp_path / "r") == original
    assert "Recommended: `fp16`" in markdown_path.read_text()


def test_a_report_with_everything_reads_back_equal(tmp_path):
    timed = Measurement("ttft_s", 0.2, "s", "measured", "here", 0.3, 3, {"batch": 1}, 0.4, (0.1, 0.3), (0.1, 0.2, 0.3))
    planned = Measurement("ttft_s", 0.1, "s", "predicted", "a model", interval=(0.05, 0.2))
    asked = {"question": "How many?", "gold": "SELECT 1", "sql": "SELECT 2", "verdict": "incorrect"}
    original = report(
        artifact(measurements=(timed,), predictions=(planned,)),
        flipped={"heldout": {"0": asked}}, made_at="2026-11-23T12:00:00+00:00", command="python -m workbench build",
    )  # fmt: skip
    write_report(original, tmp_path)
    assert read_report(tmp_path) == original


def test_record_carries_interval_and_method():
    score = report_record(report())["artifacts"][0]["sets"][0]["scores"][0]
    assert score["value"] == 0.9
    assert score["interval_95"] == pytest.approx([0.8256, 0.9448], abs=1e-4)  # Wilson, 90 of 100
    assert score["interval_method"] == "wilson"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema_version": 1}', "not json"])
def test_a_broken_report_is_one_sentence(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(WorkbenchError, match="build again"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("part", "held"), [("plan", {}), ("plan", {"recipes": [{}]}), ("question_sets", [{"name": "x"}])]
)
def test_a_report_that_lacks_what_readers_ask_for_is_one_sentence(tmp_path, part, held):
    record = report_record(report()) | {part: held}
    (tmp_path / "report.json").write_text(json.dumps(record))
    with pytest.raises(WorkbenchError, match="is no workbench report"):
        read_report(tmp_path)


def test_a_missing_report_says_what_to_do(tmp_path):
    with pytest.raises(WorkbenchError, match="run a build first"):
        read_report(tmp_path / "nowhere")


def test_a_newer_version_is_refused(tmp_path):
    write_report(report(), tmp_path)
    record = json.loads((tmp_path / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**record, "schema_version": 99}))
    with pytest.raises(WorkbenchError, match=r"version 99.*build again"):
        read_report(tmp_path)


def test_report_below_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_report(report(), tmp_path / "file" / "reports")


def test_the_fastest_of_the_accurate_is_recommended():
    found, reason = recommend((artifact("a", 90, 2.0), artifact("b", 90, 1.0), artifact("c", 40, 0.1)), "cpu")
    assert found == "b"
    assert "1.00 s" in reason
    assert "measured" in reason


def test_a_prediction_is_called_one():
    _, reason = recommend((artifact("a", kind="predicted"),), "rtx4090")
    assert "predicted for rtx4090" in reason


def test_provably_worse_is_not_recommended():
    worse = artifact("b", question_s=0.1, sets=(set_scores(89, flips=flips(12, 1, 0.003)),))
    assert recommend((artifact("a"), worse), "cpu")[0] == "a"


def test_a_lucky_variant_does_not_raise_the_bar():
    lucky = artifact("b", question_s=2.0, sets=(set_scores(95, flips=flips(0, 5, 0.06)),))
    assert recommend((artifact("a", 90, 1.0), lucky), "cpu")[0] == "a"


def test_what_has_no_speed_here_is_not_preferred():
    small = artifact("b", measurements=(), weight_bytes=1, sets=(set_scores(90, flips=flips(0, 0, 1.0)),))
    assert recommend((artifact("a"), small), "cpu")[0] == "a"


def test_without_speeds_the_smallest_wins():
    big, small = artifact("a", measurements=()), artifact("b", measurements=(), weight_bytes=10)
    assert recommend((big, small), "cpu")[0] == "b"


def test_nothing_scored_recommends_nothing():
    assert recommend((artifact("a", sets=(), error="died"),), "cpu")[0] is None


def test_a_model_that_is_never_right_is_not_recommended():
    found, reason = recommend((artifact("a", 0), artifact("b", 0)), "cpu")
    assert found is None
    assert "--prompt" in reason


def gate(verdict, **changes):
    return {"verdict": verdict, "loss_max_points": 5.0, "questions": 100, "questions_needed": 928, **changes}


def test_what_the_gate_refuted_is_not_recommended():
    refuted = artifact("b", 90, 0.1, acceptance=gate("refuted"), sets=(set_scores(90, flips=flips(0, 0, 1.0)),))
    assert recommend((artifact("a"), refuted), "cpu")[0] == "a"
    assert recommend((refuted,), "cpu") == (None, "no artifact is accurate enough; the report says what each lost")


def test_what_the_gate_proved_is_within_what_the_user_accepts():
    proved = artifact("b", 86, 0.1, acceptance=gate("proved"), sets=(set_scores(86, flips=flips(40, 4, 0.001)),))
    assert recommend((artifact("a"), proved), "cpu")[0] == "b"


def test_a_gate_that_cannot_tell_is_said_with_the_recommendation():
    doubtful = artifact(
        "b", 86, 0.1, acceptance=gate("not enough questions"), sets=(set_scores(86, flips=flips(6, 2, 0.29)),)
    )
    found, reason = recommend((artifact("a"), doubtful), "cpu")
    assert found == "b"
    assert "100 questions cannot tell whether it loses at most the 5 points" in reason
    assert "about 928 would" in reason


@pytest.mark.parametrize("seen", [flips(7, 1, 0.07), flips(8, 4, 0.03)])
def test_a_gate_that_cannot_tell_does_not_speak_for_a_loss_that_is_seen(seen):
    worse = artifact("b", 84, 0.1, acceptance=gate("not enough questions"), sets=(set_scores(84, flips=seen),))
    assert recommend((artifact("a"), worse), "cpu")[0] == "a"
