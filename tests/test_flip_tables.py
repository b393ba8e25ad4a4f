import pytest
from reports import artifact, flips, report, set_scores

from workbench.flip_tables import acceptance_table, difference_table, flipped_table, group_table, noise_text
from workbench.report_page import report_markdown

NOISE = {
    "artifact": "fp16", "question_set": "heldout", "questions": 336, "texts_differing": 4, "right_to_wrong": 1,
    "wrong_to_right": 1, "rows": 24,
}  # fmt: skip


@pytest.fixture
def built():
    worse = artifact("int4", sets=(set_scores(88, flips=flips(3, 1, 0.625)),))
    same = artifact("int8", sets=(set_scores(90, flips=flips(0, 0, 1.0)),))
    reference = {"name": "fp16", "kind": "artifact", "digest": "k"}
    return report(artifact("fp16"), worse, same, reference=reference, noise=NOISE)


def test_differences_both_ways_with_interval_and_power(built):
    table = difference_table(built, "heldout")
    assert table.rows[0] == ("int4", "100", "3", "1", "0.625", "-2.0 [-10.0, +10.0]", "8.0")
    assert [row[0] for row in table.rows] == ["int4", "int8"]
    assert difference_table(built, "unseen").rows == ()


def test_groups_show_what_flipped_where(built):
    assert group_table(built, "heldout", "category").rows == (("date", "20", "-3 +1", "-"),)
    assert group_table(built, "heldout", "hardness").rows == (("easy", "20", "-3 +1", "-"),)


def test_questions_that_flipped_are_named(built):
    table = flipped_table(built, "heldout")
    assert table.header == ("question", "reference", "int4")
    assert table.rows[0] == ("0", "correct", "error")
    assert len(table.rows) == 3


def test_gates_are_told_with_their_limits():
    record = {"verdict": "refuted", "reason": "it lost much", "loss_max_points": 2.0, "confidence": 0.95}
    table = acceptance_table(report(artifact(), artifact("int4", acceptance=record)))
    assert table.rows == (("int4", "2 points, 95%", "refuted", "it lost much"),)


def test_noise_in_one_line():
    assert noise_text({}) == ""
    assert noise_text(NOISE) == ("Noise floor: fp16 run twice, 2 of 336 answers to heldout flipped, 4 texts differed.")


def test_the_page_has_all_of_it(built):
    text = report_markdown(built)
    for part in ("## Flips on heldout against `fp16`", "Noise floor: fp16", "| 0 | correct | error |", "Could show"):
        assert part in text
    assert "## Flips" not in report_markdown(report())
