import pytest

from workbench.errors import WorkbenchError
from workbench.workload import ALL, Workload, named_workloads, shipped_workloads


def test_the_shipped_ones_span_what_is_asked_of_them():
    every = named_workloads((ALL,))
    assert {one.prompt_tokens for one in every} >= {128, 4096}
    assert {one.new_tokens for one in every} >= {16, 300}
    assert {one.batch for one in every} >= {1, 16}
    assert {one.beams for one in every} == {1, 4}
    assert len({one.title for one in every}) == len(every) == len(shipped_workloads())


def test_sets_and_names():
    assert [one.name for one in named_workloads(("quick",))] == ["question"]
    assert named_workloads() == named_workloads(("default",))
    assert [one.name for one in named_workloads(("typical", "lookup"))] == ["lookup", "typical"]
    assert named_workloads(("question", "quick")) == named_workloads(("quick",))


def test_titles_say_what_is_asked():
    assert Workload(512, 64).title == "512+64"
    assert Workload(512, 64, 16, 4).title == "512+64, batch 16, 4 beams"


def test_a_mistyped_name_is_answered_with_the_nearest():
    with pytest.raises(WorkbenchError, match="did you mean 'question'"):
        named_workloads(("qestion",))
