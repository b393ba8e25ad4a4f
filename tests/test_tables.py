from reports import artifact, divergence, report

from workbench.measure import Measurement, Score
from workbench.report import SetScores
from workbench.report_page import report_markdown
from workbench.tables import (
    Table,
    accepted_text,
    breakdown_table,
    comparison_table,
    divergence_table,
    divergence_text,
    latency_table,
    rate_text,
    seconds_text,
)


def figure(value, unit, kind):
    return Measurement("m", value, unit, kind, "somewhere")


def test_a_prediction_never_looks_measured():
    assert seconds_text(figure(0.5, "s", "predicted")) == "~500.0 ms"
    assert seconds_text(figure(0.5, "s", "measured")) == "500.0 ms"
    assert rate_text(figure(1234.0, "tokens/s", "predicted")) == "~1,200/s"
    assert rate_text(figure(1234.0, "tokens/s", "measured")) == "1,234/s"
    assert rate_text(None) == "-"


def test_pipes_in_cells_do_not_break_markdown():
    assert Table(("a",), (("x|y",),)).markdown().splitlines()[-1] == "| x\\|y |"


def test_the_recommended_row_is_starred():
    table = comparison_table(report(artifact("fp16"), artifact("int8")))
    assert [row[0] for row in table.rows] == ["fp16 *", "int8"]


def test_breakdowns_name_every_category():
    assert breakdown_table(report(), "heldout", "category").rows[0][:2] == ("date", "20")
    assert breakdown_table(report(artifact(sets=())), "heldout", "category").rows == ()


def test_refusals_are_told_where_a_set_has_questions_without_an_answer():
    alone = SetScores("heldout", (Score("refusals", 3, 4),), {})
    assert "`int8` 3 of 4 (75.0% [" in report_markdown(report(artifact("int8", sets=(alone,))))
    assert "declined" not in report_markdown(report())


def test_markdown_says_where_and_how():
    text = report_markdown(report())
    for part in ("# org/model on cpu", "## Comparison", "a note", "a machine", "## Accuracy on heldout", "Wilson"):
        assert part in text
    assert "predicted" in report_markdown(report(profile_is_here=False))
    assert "greedy decoding" in text
    assert "beam search with 4 beams" in report_markdown(report(beams=4))


def test_latency_table_has_kind_and_source():
    assert latency_table(report()).rows[0] == ("fp16", "question_s", "1 s", "1 s", "measured", "5", "a machine")


def test_divergences_carry_their_standard_errors():
    assert divergence_text(artifact("int8", divergence=divergence())) == "0.002 ±0.0003"
    assert divergence_text(artifact("fp16", divergence=divergence())) == "reference"
    assert divergence_text(artifact("int8", divergence={"missing": "why"})) == divergence_text(artifact()) == "-"


def test_divergences_are_told_by_part_and_where_there_are_several_by_set():
    one = report(artifact("int8", divergence=divergence()), artifact("gguf", divergence={"missing": "why"}))
    table = divergence_table(one)
    assert [row[:3] for row in table.rows] == [
        ("int8", "answers", "0.002 ±0.0003"),
        ("int8", "prompts", "0.002 ±0.0003"),
    ]
    assert table.rows[0][5:] == ("98.21% ±0.35", "1.2346", "1.2", "0.01", "8", "80")
    assert table.rows[1][6:9] == ("-", "-", "-")
    sets = tuple({"name": name, "questions": 10, "digest": "d"} for name in ("heldout", "unseen"))
    both = divergence_table(report(*one.artifacts, question_sets=sets))
    assert [row[1] for row in both.rows] == ["answers", "answers of heldout", "prompts"]


def test_markdown_tells_divergences_and_their_reference():
    text = report_markdown(report(artifact("int8", divergence=divergence(reference="fp16"))))
    assert "Reference: fp16." in text
    assert "standard error" in text
    assert "## Divergence" not in report_markdown(report())


def test_what_a_gate_said_in_one_cell():
    def cell(verdict, **changes):
        return accepted_text(artifact(acceptance={"verdict": verdict, "questions": 336, **changes}))

    assert cell("proved") == "proved"
    assert cell("refuted") == "REFUTED"
    assert cell("not enough questions", questions_needed=928) == "592 more needed"
    assert cell("not judged") == "not judged"
    assert accepted_text(artifact()) == "-"


def test_the_reference_is_named_and_what_has_none_is_not():
    built = report(artifact("fp16"), artifact("int8"), reference={"name": "fp16", "kind": "artifact", "digest": "k"})
    column = comparison_table(built).header.index("flips")
    assert [row[column] for row in comparison_table(built).rows] == ["reference", "-"]
    assert comparison_table(report(artifact("fp16"))).rows[0][column] == "-"
