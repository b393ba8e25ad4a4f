"""Gates: three answers, what is said with each, and what stays in a manifest."""

import dataclasses
import json

import pytest
from reports import artifact, report
from test_artifact import make

from workbench.acceptance import Reference, check_gates, judge, mark, not_judged, record_of
from workbench.artifact import open_artifact
from workbench.errors import EvaluationError, GateError
from workbench.evals.paired import Pairs, loss_interval, questions_needed
from workbench.evals.sql_accuracy import Verdict
from workbench.questions import Question, QuestionSet
from workbench.recipe import Accept

TWO_POINTS = Accept(sql_accuracy_loss_max=2.0)


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "schema.sql").write_text("CREATE TABLE t (a int);")
    (tmp_path / "db" / "rows.sql").write_text("")
    return QuestionSet("mine", (Question("0", "q?", "SELECT 1", "db", "where", "easy"),), tmp_path)


def verdicts(both=0, lost=0, gained=0, neither=0, variant=True):
    """Of the variant, or of its reference, for these four cells."""
    cells = [(both, True, True), (lost, True, False), (gained, False, True), (neither, False, False)]
    rights = [(after if variant else before) for count, before, after in cells for _ in range(count)]
    return [Verdict(str(at), "correct" if right else "incorrect", False, "", "") for at, right in enumerate(rights)]


def judged(asked, accept=TWO_POINTS, **cells):
    reference = Reference("fp16", "artifact", "key", [verdicts(**cells, variant=False)])
    return judge(accept, asked, verdicts(**cells), reference)


def test_proved(asked):
    found = judged(asked, both=900, lost=3, gained=2, neither=95)
    assert found.verdict == "proved"
    assert (found.questions, found.right_to_wrong, found.wrong_to_right) == (1000, 3, 2)
    assert found.loss_points == pytest.approx(0.1)
    least, greatest = loss_interval(Pairs(900, 3, 2, 95), 0.95)
    assert found.loss_bounds_points == pytest.approx((100 * least, 100 * greatest))
    assert found.questions_needed is None
    assert found.reason == (
        f"with 95% confidence it loses at most {100 * greatest:.1f} points, 2 are accepted "
        "(3 of 1000 answers to mine lost and 2 gained against fp16)"
    )


def test_refuted(asked):
    found = judged(asked, both=800, lost=100, gained=0, neither=100)
    assert found.verdict == "refuted"
    assert "loses at least 8." in found.reason
    assert found.question_set_digest == asked.digest
    assert found.reference == {"name": "fp16", "kind": "artifact", "digest": "key"}


def test_not_enough_questions_says_how_many_would_be(asked):
    found = judged(asked, both=18, lost=1, gained=0, neither=1)
    assert found.verdict == "not enough questions"
    assert found.questions_needed == questions_needed(2 / 22, 0.02, 0.95, seen=Pairs(18, 1, 0, 1))
    assert f"about {found.questions_needed} would prove it" in found.reason


def test_without_a_flip_the_number_is_not_nothing(asked):
    found = judged(asked, both=19, neither=1)
    assert found.verdict == "not enough questions"
    assert found.questions_needed > 500


def test_a_loss_that_is_seen_takes_more_questions(asked):
    found = judged(asked, both=900, lost=40, gained=22, neither=38)
    assert found.verdict == "not enough questions"
    assert found.questions_needed > 2000
    assert found.questions_needed < judged(asked, both=900, lost=42, gained=22, neither=36).questions_needed


def test_more_confidence_asks_for_more(asked):
    cells = {"both": 900, "lost": 6, "gained": 4, "neither": 90}
    assert judged(asked, **cells).verdict == "proved"
    strict = Accept(sql_accuracy_loss_max=0.9, confidence=0.999)
    assert judged(asked, strict, **cells).verdict == "not enough questions"


def test_a_gain_is_a_negative_loss(asked):
    found = judged(asked, both=800, gained=100, neither=100)
    assert found.verdict == "proved"
    assert found.loss_points == pytest.approx(-10)


def test_a_reference_that_is_never_right_judges_nothing(asked):
    found = judged(asked, gained=3, neither=100)
    assert found.verdict == "not judged"
    assert "nothing can be lost" in found.reason


def test_questions_without_an_answer_do_not_count(asked):
    declined = [
        dataclasses.replace(one, question_id=f"r{one.question_id}", answerable=False) for one in verdicts(both=9)
    ]
    before, after = verdicts(both=900, neither=100), verdicts(both=900, neither=100)
    found = judge(TWO_POINTS, asked, [*after, *declined], Reference("fp16", "artifact", "k", [[*before, *declined]]))
    assert found.questions == 1000
    only = judge(TWO_POINTS, asked, declined, Reference("fp16", "artifact", "k", [declined]))
    assert only.verdict == "not judged"


def test_other_questions_cannot_be_judged(asked):
    with pytest.raises(EvaluationError, match="different questions"):
        judge(TWO_POINTS, asked, verdicts(both=3), Reference("f", "file", "d", [verdicts(both=4, variant=False)]))


def test_the_manifest_keeps_the_judgement(asked, tmp_path):
    made = make(tmp_path / "q4")
    found = judged(asked, both=900, lost=3, gained=2, neither=95)
    marked = mark(made, found)
    assert marked.manifest.acceptance == record_of(found)
    assert open_artifact(tmp_path / "q4").manifest == marked.manifest
    before = (tmp_path / "q4" / "manifest.json").stat().st_mtime_ns
    assert mark(marked, found) is marked  # nothing is written again
    assert (tmp_path / "q4" / "manifest.json").stat().st_mtime_ns == before
    assert mark(marked, None).manifest.acceptance == {}


def test_a_manifest_from_before_gates_opens(tmp_path):
    make(tmp_path / "q4")
    path = tmp_path / "q4" / "manifest.json"
    record = json.loads(path.read_text())
    del record["acceptance"]
    path.write_text(json.dumps(record))
    assert open_artifact(tmp_path / "q4").manifest.acceptance == {}


def test_refuted_stays_until_questions_decide(asked, tmp_path):
    refuted = judged(asked, both=800, lost=100, neither=100)
    few = judged(asked, both=18, lost=1, neither=1)
    marked = mark(make(tmp_path / "q4"), refuted)
    assert mark(marked, few) is marked
    assert mark(marked, not_judged(TWO_POINTS, "no reference")) is marked
    assert mark(marked, None).manifest.acceptance == {}


def test_what_decides_replaces_what_was_decided(asked, tmp_path):
    marked = mark(make(tmp_path / "q4"), judged(asked, both=800, lost=100, neither=100))
    assert mark(marked, judged(asked, both=1000)).manifest.acceptance["verdict"] == "proved"
    other_limit = judged(asked, Accept(sql_accuracy_loss_max=20), both=18, lost=1, neither=1)
    assert mark(marked, other_limit).manifest.acceptance == record_of(other_limit)


def test_a_proof_gives_way_to_doubt_but_not_to_silence(asked, tmp_path):
    proved = mark(make(tmp_path / "q4"), judged(asked, both=1000))
    assert mark(proved, not_judged(TWO_POINTS, "no reference")) is proved
    few = judged(asked, both=18, lost=1, neither=1)
    assert mark(proved, few).manifest.acceptance["verdict"] == "not enough questions"


def gated(name, verdict):
    return artifact(name, acceptance={"verdict": verdict, "reason": "because", "loss_max_points": 2.0})


def test_a_strict_build_names_all_that_were_refuted():
    built = report(gated("a", "refuted"), gated("b", "proved"), gated("c", "refuted"))
    with pytest.raises(GateError, match=r"^a, c: refuted by the accuracy gate") as caught:
        check_gates(built)
    assert caught.value.exit_code == 3


def test_a_strict_build_tells_of_doubts_without_failing():
    built = report(artifact(), gated("a", "not enough questions"), gated("b", "not judged"), gated("c", "proved"))
    assert check_gates(built) == ["a: not enough questions: because", "b: not judged: because"]
